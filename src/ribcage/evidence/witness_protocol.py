"""C2SP tlog-witness, `add-checkpoint`, without input or output: what a log asks and what a witness answers.

Rules of a witness, in the specification's order; the first that fails decides the answer:
1. The request is at most 64 KiB: `old SIZE`, at most 63 proof lines, an empty line, the checkpoint. Else 400.
2. The origin is one it trusts (404), and no lawful fork closed it (410, our addition: the log goes on elsewhere).
3. The log's key signed the checkpoint (403).
4. `old` is at most the checkpoint's size (400), and what the witness remembers (409 with the size it knows).
5. The same size has the same root (409 without a size). The proof leads from the old root to the new one (422).
6. What it cosigns it has stored before. A checkpoint that it cosigned already gets the stored line again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ribcage.evidence.checkpoint import Checkpoint, verify_checkpoint
from ribcage.evidence.errors import (
    CheckpointBroken,
    CheckpointForged,
    EvidenceError,
    NoteMalformed,
    ProofBroken,
)
from ribcage.evidence.merkle import EMPTY_ROOT, HASH_BYTES, MAX_TREE_SIZE, verify_consistency
from ribcage.evidence.note import MAX_SIGNATURES, Note, NoteSignature, VerifierKey, from_base64, to_base64

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
MAX_REQUEST_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024
MAX_PROOF_LINES = 63
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class WitnessRefused(EvidenceError):
    """The witness says no. `status` is the HTTP status of the answer, `body` and `content_type` what it carries.

    WitnessRefused
    ├── RequestMalformed   400
    ├── KeyRefused         403
    ├── LogUnknown         404
    ├── SizeConflict       409, with the size
    ├── RootConflict       409
    ├── LogClosed          410
    ├── ProofRefused       422
    └── WitnessBusy        429 or anything else: decides nothing
    """

    status = 500
    content_type = "text/plain; charset=utf-8"

    @property
    def body(self) -> bytes:
        """What the answer says."""
        return f"{self}\n".encode()


class RequestMalformed(WitnessRefused):
    """The request is not of the protocol."""

    status = 400


class LogUnknown(WitnessRefused):
    """The witness was not told to remember this log."""

    status = 404


class LogClosed(WitnessRefused):
    """A lawful fork closed this origin for good."""

    status = 410


class KeyRefused(WitnessRefused):
    """The checkpoint is not signed by the log's key."""

    status = 403


class SizeConflict(WitnessRefused):
    """The witness remembers another size than the log believes."""

    status = 409
    content_type = SIZE_TYPE

    def __init__(self, size: int) -> None:
        super().__init__(f"the witness remembers a log of {size} entries")
        self.size = size

    @property
    def body(self) -> bytes:
        """The known size."""
        return f"{self.size}\n".encode()


class RootConflict(WitnessRefused):
    """The witness remembers another root of this very size."""

    status = 409


class ProofRefused(WitnessRefused):
    """The new checkpoint does not continue what the witness remembers."""

    status = 422


class WitnessBusy(WitnessRefused):
    """Too many requests, or no answer was possible; nothing is decided."""

    status = 429


@dataclass(frozen=True)
class AddCheckpoint:
    """A request: the size the log believes the witness knows, the proof from there, the signed checkpoint."""

    old_size: int
    path: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """The request's body; raises `RequestMalformed` beyond the limits."""
        lines = [f"old {self.old_size}", *(to_base64(each) for each in self.path)]
        data = "".join(f"{line}\n" for line in [*lines, ""]).encode() + self.note
        AddCheckpoint.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """Read a request; raises `RequestMalformed`. Nothing is verified yet."""
        if len(data) > MAX_REQUEST_BYTES:
            raise RequestMalformed(f"expected at most {MAX_REQUEST_BYTES} bytes, got {len(data)}")
        head, separator, note = data.partition(b"\n\n")
        try:
            first, *proof = head.decode("ascii").split("\n")
            path = tuple(from_base64(line) for line in proof[: MAX_PROOF_LINES + 1])
            Checkpoint.parse(Note.parse(note).text)
        except (UnicodeDecodeError, CheckpointBroken):
            raise RequestMalformed("expected ASCII lines of Base64, an empty line and a checkpoint") from None
        word, _, size = first.partition(" ")
        if not separator or word != "old" or not _SIZE.fullmatch(size) or int(size) > MAX_TREE_SIZE:
            raise RequestMalformed("expected a first line 'old SIZE'")
        if len(path) > MAX_PROOF_LINES or any(len(each) != HASH_BYTES for each in path):
            raise RequestMalformed(f"expected at most {MAX_PROOF_LINES} hashes of {HASH_BYTES} bytes")
        return cls(int(size), path, note)

    @property
    def origin(self) -> str:
        """The origin that the checkpoint claims, unverified: to look up what is known of it."""
        return Checkpoint.parse(Note.parse(self.note).text).origin


@dataclass(frozen=True)
class LogMemory:
    """What a witness remembers of one log. `closed` holds the origin that follows it after a fork, or ''."""

    key: VerifierKey
    size: int = 0
    root: bytes = EMPTY_ROOT
    text: str = ""  # of the newest checkpoint
    line: str = ""  # the cosignature over it
    closed: str = ""


def judge(memory: LogMemory | None, request: AddCheckpoint) -> Checkpoint:
    """The head that may be cosigned now; the caller stores it first. Raises `WitnessRefused` (rules 2 to 5)."""
    if memory is None:
        raise LogUnknown(
            "this witness does not know the log: its administrator runs `ribcage witness trust-log`"
        )
    if memory.closed:
        raise LogClosed(f"this log was closed by a fork and goes on as {memory.closed}")
    try:
        head = verify_checkpoint(request.note, memory.key)
    except CheckpointForged:
        raise KeyRefused("the checkpoint is not signed by the key this witness knows") from None
    except NoteMalformed:
        raise RequestMalformed("expected a checkpoint (C2SP tlog-checkpoint)") from None
    if request.old_size > head.size:
        raise RequestMalformed("the old size is beyond the checkpoint's")
    if request.old_size != memory.size:
        raise SizeConflict(memory.size)
    if head.size == memory.size and head.root != memory.root:
        raise RootConflict(f"the witness remembers another root of size {memory.size}")
    try:
        verify_consistency(memory.size, memory.root, head.size, head.root, request.path)
    except ProofBroken:
        raise ProofRefused(
            "the proof does not lead from what the witness remembers to this checkpoint"
        ) from None
    return head


def read_answer(status: int, content_type: str, body: bytes) -> tuple[str, ...]:
    """The signature lines of an answer, unverified; raises what the witness said as `WitnessRefused`.

    An answer that is not of the protocol is `WitnessBusy`: it decides nothing.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise WitnessBusy("the answer is longer than the protocol allows")
    if status == 200:
        return _lines(body)
    if status == SizeConflict.status and content_type.partition(";")[0].strip() == SIZE_TYPE:
        size = body.decode("ascii", "replace").removesuffix("\n")
        if not _SIZE.fullmatch(size):
            raise WitnessBusy("a conflict names no size")
        raise SizeConflict(int(size))
    kinds: Sequence[type[WitnessRefused]] = (
        RequestMalformed,
        LogUnknown,
        LogClosed,
        KeyRefused,
        RootConflict,
        ProofRefused,
    )
    for kind in kinds:
        if kind.status == status:
            raise kind(f"the witness answered {status}")
    raise WitnessBusy(f"the witness answered {status}")


def _lines(body: bytes) -> tuple[str, ...]:
    try:
        lines = body.decode().split("\n")
        if lines.pop() or not 1 <= len(lines) <= MAX_SIGNATURES:
            raise WitnessBusy("expected signature lines, each ending in newline")
        return tuple(NoteSignature.parse(line).encode() for line in lines)
    except (UnicodeDecodeError, NoteMalformed):
        raise WitnessBusy("the answer holds no signature line") from None
