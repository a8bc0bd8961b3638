"""Who stands behind the pseudonyms of a run without an archive: a table that two holders open together.

Rules, in order (docs/formats.md, 11.2):
1. It is sealed to two public keys before it touches a disk; the run that makes it cannot open it.
2. It names patients by ID and issuer, and studies by UID: what is needed to find them where they came from.
3. A holder's private key lies in a file of its own, readable by its owner alone.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from ribcage.crypto.errors import SharesRefused
from ribcage.crypto.holders import new_holder, open_by_two, public_of, seal_for_two
from ribcage.dicom.part10 import split
from ribcage.dicom.scan import Buffer, Scan, scan
from ribcage.dicom.values import DEFAULT_CHARSET, Charset, charset_of, text_values
from ribcage.guard.durable import write_file
from ribcage.usage.deid.errors import ProjectInvalid

_TITLE: Final = b"ribcage deid table 1\n"
_HOLDER: Final = re.compile(rb"ribcage deid holder 1 (private|public)\n([0-9a-f]{64})\n")
_HEAD: Final = re.compile(_TITLE + rb"([0-9a-f]{64})\n([0-9a-f]{64})\n")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_CHARSET, _ID, _ISSUER, _STUDY = 0x00080005, 0x00100020, 0x00100021, 0x0020000D
_MOST_BYTES: Final = 4 << 30


class Behind(NamedTuple):
    """Who an instance is about, in clear."""

    patient_id: str
    issuer: str
    study: str


class Line(NamedTuple):
    """What stands for whom."""

    pseudonym: str
    study: str
    behind: Behind


def behind(data: Buffer) -> Behind:
    """Who this file is about. Raises DicomError."""
    meta = split(data)
    scanned = scan(data, meta.transfer_syntax_uid, start=meta.prefix_bytes)
    told = scanned.find(_CHARSET)
    charset = DEFAULT_CHARSET if told is None else charset_of(scanned.value(told))
    return Behind(*(_text(scanned, tag, charset) for tag in (_ID, _ISSUER, _STUDY)))


def _text(scanned: Scan, tag: int, charset: Charset) -> str:
    element = scanned.find(tag)
    return (
        "" if element is None else "\\".join(text_values(scanned.value(element), "LO", charset)).strip(" \0")
    )


def make_holder(path: Path) -> Path:
    """A new key pair: the private half at `path`, mode 0600, the public one beside it. Raises OSError."""
    private, public = new_holder()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"ribcage deid holder 1 private\n{private.hex()}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    beside = path.with_name(f"{path.name}.pub")
    write_file(beside, f"ribcage deid holder 1 public\n{public.hex()}\n".encode())
    return beside


def read_holder(path: Path, kind: str) -> bytes:
    """A holder's key, 'private' or 'public'. Raises ProjectInvalid, OSError."""
    with path.open("rb") as file:
        mode, data = os.fstat(file.fileno()).st_mode, file.read(256)
    found = _HOLDER.fullmatch(data)
    if found is None or found[1].decode() != kind:
        raise ProjectInvalid(
            f"expected a holder's {kind} key, got another file",
            "`ribcage deid holder FILE` makes both halves",
        )
    if kind == "private" and mode & _OTHERS:
        raise ProjectInvalid(
            "expected a key that only its owner can read, got wider rights", f"chmod 600 {path}"
        )
    return bytes.fromhex(found[2].decode("ascii"))


def write_table(path: Path, first: bytes, second: bytes, lines: Iterable[Line]) -> None:
    """Seal and write it, durably. Raises ProjectInvalid, OSError."""
    rows = sorted(dict.fromkeys(lines))
    plain = json.dumps({"version": 1, "lines": rows}, ensure_ascii=False, separators=(",", ":")).encode()
    try:
        sealed = seal_for_two(first, second, plain)
    except SharesRefused as failure:
        raise ProjectInvalid(str(failure), "give --holder twice, of two persons") from failure
    write_file(path, _TITLE + f"{first.hex()}\n{second.hex()}\n".encode() + sealed)


def read_table(path: Path, keys: tuple[bytes, bytes]) -> list[Line]:
    """All lines, for both private keys in whatever order. Raises ProjectInvalid, OSError."""
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES)
    head = _HEAD.match(data)
    if head is None:
        raise ProjectInvalid(
            "expected a sealed table, got another file", "`ribcage deid … --table` writes one"
        )
    first, second = (bytes.fromhex(head[number].decode("ascii")) for number in (1, 2))
    by_public = {public_of(key): key for key in keys}
    if by_public.keys() != {first, second}:
        raise ProjectInvalid(
            "expected the keys of both its holders, got others", "--key twice, of two persons"
        )
    try:
        plain = open_by_two(by_public[first], by_public[second], data[head.end() :])
        rows = json.loads(plain)["lines"]
        return [Line(pseudonym, study, Behind(*told)) for pseudonym, study, told in rows]
    except (SharesRefused, ValueError, KeyError, TypeError) as failure:
        raise ProjectInvalid("the table does not open: it was changed", "take its backup") from failure
