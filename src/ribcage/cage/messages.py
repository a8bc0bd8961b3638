"""What passes between a front and its caged workers: one job in, one answer out.

A message is the lengths of its two parts, a body in MessagePack and the bulk: frame, samples or picture, not copied.

Rules, in order:
1. A length beyond its limit is refused before anything of it is read.
2. The worker is not believed: its answer is decoded into these types and nothing else, and `check_answer` holds it
   against the job that was sent. What cannot be checked is whether the picture shows what was stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from struct import Struct
from typing import Final, Literal

import msgspec

from ribcage.cage.errors import CageError, CageFailed, PixelsUnreadable, WishInvalid

MediaType = Literal["image/jpeg", "image/png", "image/gif"]
WindowFunction = Literal["linear", "linear-exact", "sigmoid"]
Viewport = tuple[float, ...]  # of 2 or 6 numbers

HEAD: Final = Struct("<II")
MAX_HEADER_BYTES: Final = 64 * 1024**2
_MAGIC: Final = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n", "image/gif": b"GIF8"}


@dataclass(frozen=True, slots=True)
class CageLimits:
    """What one front's cage may cost; what a worker refuses and what ends it."""

    workers: int = 2  # processes of one front, started when needed
    queued_jobs: int = 64  # waiting for a worker; beyond it CageBusy
    job_seconds: float = 10.0  # of wall time and, rounded up, of processor time
    idle_seconds: float = 60.0  # a worker that waited so long ends
    start_seconds: float = 20.0  # a worker imports its codecs and locks itself in
    worker_jobs: int = 500  # then it is replaced, whatever it may have kept
    worker_memory_bytes: int = 2 * 1024**3  # address space
    max_frame_pixels: int = 64 * 1024**2
    max_frame_bytes: int = 256 * 1024**2  # as stored, and as decoded
    max_output_pixels: int = 64 * 1024**2

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raises ValueError naming the first number that cannot work."""
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected a positive number; correct the limits")


@dataclass(frozen=True, slots=True)
class FrameSource:
    """One stored frame and what is needed to understand it.

    `header` is the data set up to the bulk element in its transfer syntax, masked or not, without file prefix; of a
    deflated one the whole deflated stream, or its inflated elements. `frame` is the encapsulated frame's fragments
    joined, or its native bytes; with 1 bit allocated all bytes that hold a bit of it, so that it begins at bit
    `index * rows * columns % 8` of the first. `index` counts from 0.
    """

    header: bytes
    transfer_syntax_uid: str
    frame: bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class NativeFrame:
    """A decoded frame as Explicit VR Little Endian holds it natively (PS3.5 8.1), and what the header must say."""

    data: bytes
    photometric_interpretation: str
    samples_per_pixel: int
    rows: int
    columns: int
    bits_allocated: int
    planar_configuration: int


@dataclass(frozen=True, slots=True)
class RenderWish:
    """How a frame shall look (PS3.18 8.3.5).

    `window` is centre, width and function in modality units. `viewport` is width and height to fit into, and the
    region of the source: left, top, width, height; a negative width or height mirrors. `annotation` are lines drawn
    visibly into the picture. `thumbnail_pixels` bounds both sides. Nothing is ever enlarged.
    """

    media_type: MediaType = "image/jpeg"
    window: tuple[float, float, WindowFunction] | None = None
    viewport: Viewport | None = None
    quality: int | None = None
    annotation: tuple[str, ...] = ()
    thumbnail_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered frame."""

    media_type: str
    data: bytes
    width: int
    height: int


class DecodeJob(msgspec.Struct, tag="decode", frozen=True):
    """Decode one frame."""

    source: FrameSource


class RenderJob(msgspec.Struct, tag="render", frozen=True):
    """Render one frame."""

    source: FrameSource
    wish: RenderWish


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The worker has locked itself in."""


class Decoded(msgspec.Struct, tag="decoded", frozen=True):
    """Answer to DecodeJob."""

    frame: NativeFrame


class Rendered(msgspec.Struct, tag="rendered", frozen=True):
    """Answer to RenderJob."""

    picture: Picture


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """The job, or the start, failed; which error the caller sees."""

    kind: Literal["unreadable", "invalid", "failed"]
    text: str

    def error(self) -> CageError:
        """The exception to raise; its text shortened and printable, because a worker wrote it."""
        text = "".join(c for c in self.text[:300] if c.isprintable())
        kinds: dict[str, type[CageError]] = {"unreadable": PixelsUnreadable, "invalid": WishInvalid}
        return kinds.get(self.kind, CageFailed)(text)


Job = DecodeJob | RenderJob
Answer = Ready | Decoded | Rendered | Failed
_jobs = msgspec.msgpack.Decoder(Job)
_answers = msgspec.msgpack.Decoder(Answer)


def pack(message: Job | Answer) -> tuple[bytes, bytes, bytes]:
    """Head, body and bulk, to be sent one after the other."""
    bulk = b""
    if isinstance(message, DecodeJob | RenderJob):
        bulk = message.source.frame
        message = msgspec.structs.replace(message, source=replace(message.source, frame=b""))
    elif isinstance(message, Decoded):
        bulk = message.frame.data
        message = Decoded(replace(message.frame, data=b""))
    elif isinstance(message, Rendered):
        bulk = message.picture.data
        message = Rendered(replace(message.picture, data=b""))
    body = msgspec.msgpack.encode(message)
    return HEAD.pack(len(body), len(bulk)), body, bulk


def read_job(body: bytes, bulk: bytes) -> Job:
    """For the worker. Raises msgspec.MsgspecError."""
    job: Job = _jobs.decode(body)
    return msgspec.structs.replace(job, source=replace(job.source, frame=bulk))


def read_answer(body: bytes, bulk: bytes) -> Answer:
    """For the front. Raises CageFailed when a worker speaks otherwise."""
    try:
        answer: Answer = _answers.decode(body)
    except msgspec.MsgspecError:
        raise CageFailed("expected an answer of the cage's protocol, got other bytes") from None
    if isinstance(answer, Decoded):
        return Decoded(replace(answer.frame, data=bulk))
    if isinstance(answer, Rendered):
        return Rendered(replace(answer.picture, data=bulk))
    return answer


def check_job(job: Job, limits: CageLimits) -> None:
    """Raises PixelsUnreadable for what a worker would not take (rule 1)."""
    if len(job.source.frame) > limits.max_frame_bytes or len(job.source.header) > MAX_HEADER_BYTES:
        raise PixelsUnreadable(
            f"expected a frame of at most {limits.max_frame_bytes} bytes, got a longer one"
        )


def largest_answer_bytes(limits: CageLimits) -> int:
    """No answer is longer (rule 1): a decoded frame, or a picture that compressed to nothing."""
    return max(limits.max_frame_bytes, 4 * limits.max_output_pixels) + 64 * 1024


def check_answer(job: Job, answer: Answer, limits: CageLimits) -> NativeFrame | Picture:
    """What was asked for and could be so (rule 2). Raises what the worker reported, or CageFailed."""
    if isinstance(answer, Failed):
        raise answer.error()
    if isinstance(job, DecodeJob) and isinstance(answer, Decoded):
        frame = answer.frame
        if len(frame.data) == frame_bytes(frame) and frame.rows * frame.columns <= limits.max_frame_pixels:
            return frame
    if isinstance(job, RenderJob) and isinstance(answer, Rendered):
        picture = answer.picture
        begins_right = picture.data.startswith(_MAGIC[job.wish.media_type])
        within = 0 < picture.width * picture.height <= limits.max_output_pixels
        if picture.media_type == job.wish.media_type and begins_right and within:
            return picture
    raise CageFailed("expected an answer that fits its job, got another; the worker is replaced")


def frame_bytes(frame: NativeFrame) -> int:
    """The length that a native frame's attributes demand (PS3.5 8.1.1); 1 bit allocated is packed."""
    samples = 2 if frame.photometric_interpretation == "YBR_FULL_422" else frame.samples_per_pixel
    return (frame.rows * frame.columns * samples * frame.bits_allocated + 7) // 8
