"""A caged worker: `python -m ribcage.cage.worker`, started by `cage.pool`; descriptor 0 is its one socket.

Rules, in order:
1. Limits come as the first message, before the lock. Every module, codec and font is loaded, then the worker locks
   itself in (`cage.lockdown`) and says so. Where it cannot, it says why and ends.
2. One job is read, answered, forgotten. Lengths are checked before anything is read.
3. Whatever a job raises becomes an answer: no memory is `failed`, everything else that is not a wish is `unreadable`.
4. The end of the socket is the end of the worker.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import Final

import msgspec
from PIL import Image, ImageFont

from ribcage.cage.decode import decode
from ribcage.cage.errors import CageError, PixelsUnreadable, WishInvalid
from ribcage.cage.lockdown import lock
from ribcage.cage.messages import (
    HEAD,
    MAX_HEADER_BYTES,
    Answer,
    CageLimits,
    Decoded,
    DecodeJob,
    Failed,
    Job,
    Ready,
    Rendered,
    pack,
    read_job,
)
from ribcage.cage.render import render

SOCKET: Final = 0
_MAX_LIMITS_BYTES: Final = 64 * 1024
Work = Callable[[Job, CageLimits], Answer]


def work(job: Job, limits: CageLimits) -> Answer:
    """Do one job. Raises CageError, and whatever hostile bytes make a codec raise."""
    if isinstance(job, DecodeJob):
        return Decoded(decode(job.source, limits))
    return Rendered(render(job.source, job.wish, limits))


def serve(do: Work = work, lock_in: Callable[[int], None] = lock) -> None:
    """Answer jobs until the socket ends."""
    first = _receive(_MAX_LIMITS_BYTES)
    if first is None:
        return
    limits = msgspec.msgpack.decode(first[0], type=CageLimits)
    load()
    try:
        lock_in(limits.worker_memory_bytes)
    except OSError as failure:
        _send(Failed("failed", f"the worker could not lock itself in: {failure.strerror or failure}"))
        return
    _send(Ready())
    most = limits.max_frame_bytes + MAX_HEADER_BYTES + _MAX_LIMITS_BYTES
    while (message := _receive(most)) is not None:
        try:
            job = read_job(*message)
        except msgspec.MsgspecError:
            return
        _send(_answer(job, limits, do))


def load() -> None:
    """Everything that is read from a file at its first use (rule 1)."""
    warnings.simplefilter("ignore")
    logging.disable()
    Image.MAX_IMAGE_PIXELS = None  # the frame's size was held against its own limit
    Image.init()
    ImageFont.load_default(12)
    for encoding in ("ascii", "latin-1", "iso8859", "utf-8", "cp437"):
        "".encode(encoding)


def _answer(job: Job, limits: CageLimits, do: Work) -> Answer:
    """Rule 3."""
    try:
        return do(job, limits)
    except PixelsUnreadable as error:
        return Failed("unreadable", str(error))
    except WishInvalid as error:
        return Failed("invalid", str(error))
    except CageError as error:
        return Failed("failed", str(error))
    except MemoryError:
        return Failed(
            "failed", f"expected at most {limits.worker_memory_bytes} bytes of memory, got need for more"
        )
    except Exception as error:  # noqa: BLE001 - the edge of the process: hostile bytes make codecs raise anything
        name = type(error).__name__
        return Failed("unreadable", f"expected a sound frame, got one that its decoder refuses ({name})")


def _receive(most: int) -> tuple[bytes, bytes] | None:
    """Body and bulk of one message, None at the end of the socket."""
    head = _exactly(HEAD.size)
    if head is None:
        return None
    body, bulk = HEAD.unpack(head)
    if body + bulk > most:
        raise SystemExit(2)
    both = _exactly(body), _exactly(bulk)
    return None if both[0] is None or both[1] is None else (both[0], both[1])


def _exactly(count: int) -> bytes | None:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        read = os.readv(SOCKET, [view])
        if read == 0:
            return None
        view = view[read:]
    return bytes(buffer)


def _send(message: Answer) -> None:
    for part in pack(message):
        view = memoryview(part)
        while view:
            view = view[os.write(SOCKET, view) :]


if __name__ == "__main__":
    serve()
