"""The fork statement: a lawful restore tells witnesses that a log goes on under a new origin (docs/formats.md 5.8).

Rules, in order:
1. It is a signed note by the new log's key: a title line, then canonical JSON on one line.
2. The new origin is the old one's hospital with a higher number: `ribcage.local/HOSPITAL/2` or above.
3. The signature proves possession of the new key and no right to fork. That right has the administrator of the
   witness, who records the statement by hand after asking the two persons it names.
4. `old` is the newest head the witness remembers; what it has beyond `restored` is lost, and everybody can see that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ribcage.evidence.checkpoint import Checkpoint, CheckpointSigner
from ribcage.evidence.entry import ENTRY_VERSION, Json, JsonValue, canonical, identity, instant, parse, token
from ribcage.evidence.errors import CheckpointForged, EntryInvalid, NoteMalformed
from ribcage.evidence.note import ED25519, Note, VerifierKey, from_base64, to_base64

TITLE = "ribcage log fork v1"
MAX_STATEMENT_BYTES = 16 * 1024
_ORIGIN = re.compile(r"(ribcage\.local/[0-9a-f]{32})(?:/([1-9][0-9]{0,8}))?")
_FIELDS = {"approved_by", "ms", "new_key", "old", "reason", "restored", "version"}
_HEAD = {"origin", "root", "size"}
_PERSON = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Fork:
    """What a statement says. `approved_by`: two persons' ids (16 bytes, pseudonyms); `time_ms`: Unix milliseconds.

    `restored` has the old origin: it is the part of the old log with which the new one begins.
    """

    old: Checkpoint
    restored: Checkpoint
    new_key: VerifierKey
    reason: str
    approved_by: tuple[bytes, bytes]
    time_ms: int

    @property
    def new_origin(self) -> str:
        """The origin under which the log goes on."""
        return self.new_key.name


def split_origin(origin: str) -> tuple[str, int]:
    """`(origin of the first log, number of this one)`; raises `NoteMalformed` for what is no origin of ours."""
    found = _ORIGIN.fullmatch(origin)
    if found is None or found[2] == "1":
        raise NoteMalformed(
            "expected an origin of the form ribcage.local/HOSPITAL or ribcage.local/HOSPITAL/N"
        )
    return found[1], int(found[2] or 1)


def next_origin(origin: str) -> str:
    """The lowest origin that may follow this one; raises `NoteMalformed`."""
    first, number = split_origin(origin)
    return f"{first}/{number + 1}"


def make_fork(fork: Fork, signer: CheckpointSigner) -> bytes:
    """The statement, signed by the new log's signer. Raises `NoteMalformed`, `EntryInvalid`, `CheckpointForged`."""
    if signer.key != fork.new_key:
        raise CheckpointForged("a fork statement is signed by the new log's own key")
    approvers: list[JsonValue] = [*sorted(identity(each) for each in fork.approved_by)]
    document: Json = {
        "approved_by": approvers,
        "ms": fork.time_ms,
        "new_key": fork.new_key.encode(),
        "old": _head(fork.old),
        "reason": fork.reason,
        "restored": _head(fork.restored),
        "version": ENTRY_VERSION,
    }
    statement = signer.sign_text(f"{TITLE}\n{canonical(document).decode()}\n")
    read_fork(statement)
    return statement


def read_fork(statement: bytes) -> Fork:
    """Read a statement and check it by the key it names (rule 3).

    Raises `NoteMalformed`, `EntryInvalid` or `CheckpointForged`.
    """
    if len(statement) > MAX_STATEMENT_BYTES:
        raise NoteMalformed(f"expected a fork statement of at most {MAX_STATEMENT_BYTES} bytes")
    note = Note.parse(statement)
    title, _, rest = note.text.partition("\n")
    if title != TITLE or rest.count("\n") != 1:
        raise NoteMalformed(f"expected the title line {TITLE!r} and one line of JSON")
    value: dict[str, Any] = parse(rest.removesuffix("\n").encode())
    if set(value) != _FIELDS or any(not isinstance(value[name], str) for name in ("new_key", "reason")):
        raise NoteMalformed("a fork statement has other fields than docs/formats.md gives it")
    key = VerifierKey.parse(value["new_key"])
    note.verify(key)
    fork = Fork(
        old=_read_head(value["old"]),
        restored=_read_head(value["restored"]),
        new_key=key,
        reason=token(value["reason"]),
        approved_by=_persons(value["approved_by"]),
        time_ms=_number(value["ms"]),
    )
    _check(fork)
    return fork


def _check(fork: Fork) -> None:
    instant(fork.time_ms)
    hospital, number = split_origin(fork.old.origin)
    same, higher = split_origin(fork.new_origin)
    if fork.new_key.kind != ED25519 or same != hospital or higher <= number:
        raise NoteMalformed(f"expected a new origin above {fork.old.origin!r}, got {fork.new_origin!r}")
    if fork.restored.origin != fork.old.origin or fork.restored.size > fork.old.size:
        raise NoteMalformed("expected a restored head of the old log, not beyond its newest one")
    if fork.restored.size == fork.old.size and fork.restored.root != fork.old.root:
        raise NoteMalformed("two different roots of one size: what was restored is another log")


def _head(head: Checkpoint) -> Json:
    return {"origin": head.origin, "root": to_base64(head.root), "size": head.size}


def _read_head(value: object) -> Checkpoint:
    if not isinstance(value, dict) or set(value) != _HEAD:
        raise NoteMalformed("a head has origin, root and size")
    origin, root, size = value["origin"], value["root"], _number(value["size"])
    if not isinstance(origin, str) or not isinstance(root, str):
        raise NoteMalformed("a head's origin and root are text")
    split_origin(origin)
    return Checkpoint.parse(Checkpoint(origin, size, from_base64(root)).text())


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise EntryInvalid("expected a non-negative number")
    return value


def _persons(value: object) -> tuple[bytes, bytes]:
    ids = value if isinstance(value, list) else []
    if len(ids) != 2 or any(not isinstance(each, str) or not _PERSON.fullmatch(each) for each in ids):
        raise NoteMalformed("expected the ids of two persons, 32 hexadecimal digits each")
    if ids[0] >= ids[1]:
        raise NoteMalformed("expected two different persons, in the order of their ids")
    return bytes.fromhex(ids[0]), bytes.fromhex(ids[1])
