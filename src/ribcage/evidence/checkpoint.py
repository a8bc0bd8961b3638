"""Checkpoints: the log's signed head (C2SP tlog-checkpoint), and what witnesses add (C2SP tlog-cosignature).

Rules, in order:
1. The text is origin, size in decimal, root in Base64, each on a line; extension lines are kept and not written.
2. The log's key name is its origin: `ribcage.local/` and the hospital's id in hex.
3. A cosignature v1 is `time u64 ‖ Ed25519` over `cosignature/v1\\ntime SECONDS\\n` and the checkpoint's text.
4. A witness signs only what continues what it signed before, and keeps that in mind before it answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ribcage.crypto.signing import Signer
from ribcage.evidence.errors import CheckpointForged, ConsistencyBroken, NoteMalformed, WitnessMissing
from ribcage.evidence.merkle import EMPTY_ROOT, HASH_BYTES, MAX_TREE_SIZE, verify_consistency
from ribcage.evidence.note import (
    COSIGNATURE_V1,
    Note,
    NoteSignature,
    VerifierKey,
    check_name,
    check_signature,
    from_base64,
    to_base64,
)

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_TIME = (1 << 63) - 1


@dataclass(frozen=True)
class Checkpoint:
    """A log's head: `size` leaves with this root (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text; raises `NoteMalformed` on a line that would break it."""
        lines = [self.origin, str(self.size), to_base64(self.root), *self.extensions]
        if any(not line or any(each < " " for each in line) for line in lines):
            raise NoteMalformed("a checkpoint line is empty or holds control characters")
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a verified note; raises `NoteMalformed`."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise NoteMalformed("expected a checkpoint of at least three non-empty lines")
        origin, decimal, root, *extensions = lines
        if not _DECIMAL.fullmatch(decimal) or int(decimal) > MAX_TREE_SIZE:
            raise NoteMalformed("expected a decimal tree size without leading zeros")
        size, head = int(decimal), from_base64(root)
        if len(head) != HASH_BYTES or (size == 0 and head != EMPTY_ROOT):
            raise NoteMalformed("expected the Base64 of a SHA-256 root that fits the tree size")
        return cls(origin, size, head, tuple(extensions))


def log_origin(hospital: bytes) -> str:
    """The origin and key name of a hospital's log (16 bytes)."""
    if len(hospital) != 16:
        raise NoteMalformed(f"expected a hospital id of 16 bytes, got {len(hospital)}")
    return f"ribcage.local/{hospital.hex()}"


class CheckpointSigner:
    """Signs the heads of one log with the key of a 32-byte seed."""

    def __init__(self, origin: str, seed: bytes) -> None:
        self._signer = Signer(seed)
        self.key = VerifierKey(check_name(origin), self._signer.public_key)

    @property
    def verifier_key(self) -> str:
        """What a stranger needs to check this log's checkpoints; publish it outside the archive."""
        return self.key.encode()

    def sign(self, size: int, root: bytes) -> bytes:
        """Return the signed checkpoint (a note). Never sign a head that does not continue the last one."""
        text = Checkpoint(self.key.name, size, root).text()
        Checkpoint.parse(text)
        return self.sign_text(text)

    def sign_text(self, text: str) -> bytes:
        """Sign another statement of this log, as a note. Its first line must not be the origin."""
        signature = NoteSignature(self.key.name, self.key.key_id, self._signer.sign(text.encode()))
        return Note(text, (signature,)).encode()


def verify_checkpoint(note: bytes, key: VerifierKey | str) -> Checkpoint:
    """Return the head that `key` signed under its own origin.

    Raises `NoteMalformed`, or `CheckpointForged` when the signature or the origin is another's.
    """
    known = VerifierKey.parse(key) if isinstance(key, str) else key
    parsed = Note.parse(note)
    parsed.verify(known)
    checkpoint = Checkpoint.parse(parsed.text)
    if checkpoint.origin != known.name:
        raise CheckpointForged(f"expected a checkpoint of {known.name!r}, got {checkpoint.origin!r}")
    return checkpoint


def verify_cosignatures(
    note: bytes, witnesses: Sequence[VerifierKey | str], quorum: int, *, not_after: int = _MAX_TIME
) -> dict[str, int]:
    """Return witness name → time (Unix seconds) for at least `quorum` of the given witnesses.

    Raises `WitnessMissing` for fewer, `CheckpointForged` for a known witness's bad signature or one whose time
    is later than `not_after`. Two keys of one public key or one name count once.
    """
    if quorum < 1:
        raise WitnessMissing("expected a quorum of at least one")
    parsed = Note.parse(note)
    times: dict[str, int] = {}
    publics: set[bytes] = set()
    for witness in witnesses:
        known = VerifierKey.parse(witness) if isinstance(witness, str) else witness
        if known.kind != COSIGNATURE_V1:
            raise CheckpointForged("expected a witness's key (type 4), got a log's key")
        if known.public in publics:
            continue
        for each in parsed.by(known):
            moment = _check_cosignature(known, each.blob, parsed.text)
            if moment > not_after:
                raise CheckpointForged("a cosignature is from the future: check the clocks")
            times[known.name] = max(moment, times.get(known.name, 0))
            publics.add(known.public)
    if len(times) < quorum:
        raise WitnessMissing(f"expected cosignatures of {quorum} witnesses, got {len(times)}")
    return times


def add_signature(note: bytes, line: str) -> bytes:
    """Append a signature line (as a witness returned it) to a note, once; raises `NoteMalformed`."""
    parsed = Note.parse(note)
    signature = NoteSignature.parse(line.removesuffix("\n"))
    if signature in parsed.signatures:
        return note
    return Note.parse(Note(parsed.text, (*parsed.signatures, signature)).encode()).encode()


class Cosigner:
    """A witness's key (seed of 32 bytes). Whoever calls `sign` has checked the checkpoint and stored it."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._signer = Signer(seed)
        self.key = VerifierKey(check_name(name), self._signer.public_key, COSIGNATURE_V1)

    def sign(self, text: str, now: int) -> str:
        """The cosignature line over a checkpoint's text at `now` (Unix seconds)."""
        if not 0 <= now <= _MAX_TIME:
            raise NoteMalformed("expected a time of 0 to 2**63 - 1 seconds")
        signature = self._signer.sign(_cosigned(text, now))
        return NoteSignature(self.key.name, self.key.key_id, now.to_bytes(8) + signature).encode()


class Witness:
    """A log's memory outside its home, without input or output (C2SP tlog-witness).

    `size` and `root` are what was stored last. After `update` the caller stores both durably and only then hands
    out the line, so that a crash cannot make the witness sign two histories.
    """

    def __init__(
        self, name: str, seed: bytes, log: VerifierKey | str, size: int = 0, root: bytes = EMPTY_ROOT
    ) -> None:
        self._cosigner = Cosigner(name, seed)
        self._log = VerifierKey.parse(log) if isinstance(log, str) else log
        self.key = self._cosigner.key
        self.size = size
        self.root = root

    def update(self, note: bytes, path: Sequence[bytes], now: int) -> str:
        """Check a newer checkpoint against memory and return a cosignature line.

        `path` is the consistency proof from `self.size`; `now` is in Unix seconds. Raises `CheckpointForged`,
        `NoteMalformed`, or `ConsistencyBroken` when the log was cut, rolled back or forked.
        """
        head = verify_checkpoint(note, self._log)
        if head.size < self.size:
            raise ConsistencyBroken(
                f"the log has {head.size} entries, its witness saw {self.size}: it was rolled back or cut"
            )
        verify_consistency(self.size, self.root, head.size, head.root, path)
        line = self._cosigner.sign(Note.parse(note).text, now)
        self.size, self.root = head.size, head.root
        return line


def _check_cosignature(key: VerifierKey, blob: bytes, text: str) -> int:
    if len(blob) != 72:
        raise CheckpointForged(f"expected a cosignature of 72 bytes, got {len(blob)}")
    moment = int.from_bytes(blob[:8])
    if moment > _MAX_TIME:
        raise CheckpointForged("a cosignature's time exceeds 2**63 - 1")
    check_signature(key, blob[8:], _cosigned(text, moment))
    return moment


def _cosigned(text: str, moment: int) -> bytes:
    return f"cosignature/v1\ntime {moment}\n{text}".encode()
