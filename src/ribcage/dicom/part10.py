"""DICOM files (PS3.10 7): where the data set begins and how it is encoded; the prefix of a file of our own.

Rules, in order:
1. "DICM" at byte 128 before something that begins like DICOM, else "DICM" at byte 0, else group 0002 or a data set
   at byte 0. The quirk is noted.
2. File meta information is explicit little endian (PS3.10 7.1). It ends where group 0002 ends; a wrong group
   length is noted and not believed.
3. Without a transfer syntax the encoding is read off the first element header: explicit VR letters or not. Only
   Explicit VR Little Endian, Explicit VR Big Endian and Implicit VR Little Endian are ever guessed.
4. The preamble is kept as it is in an original (bit-exact) and is zero in a file of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct, pack
from types import MappingProxyType
from typing import Final

from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed
from ribcage.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ribcage.dicom.scan import LONG_VRS, SHORT_VRS, Buffer
from ribcage.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    lookup,
)

MAX_META_BYTES: Final = 64 * 1024
_HEAD: Final = Struct("<HH2sH")
_LENGTH: Final = Struct("<I")
_BEHIND_MAGIC: Final = 132
_LAST_FIRST_GROUP: Final = 0x0010  # a data set without meta begins in group 0008 or 0010 at the latest


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What precedes the data set. `prefix_bytes` counts preamble, "DICM" and group 0002; `values` maps the
    element number in group 0002 to raw value bytes; UIDs are "" where absent."""

    prefix_bytes: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    values: Mapping[int, bytes]
    notes: frozenset[str]


def split(data: Buffer) -> FileMeta:
    """Read the file meta information at the front of a file (its first `MAX_META_BYTES` suffice).

    Raises DataSetMalformed when this is no DICOM file, DataSetLimitExceeded, UnsupportedTransferSyntax.
    """
    notes: set[str] = set()
    position = _data_position(data)
    if position != _BEHIND_MAGIC:
        notes.add("no_preamble")
    values, end = _meta(data, position, notes)
    transfer_syntax = _uid(values.get(0x0010, b""))
    if not transfer_syntax:
        transfer_syntax = _guess(data, end)
        notes.add("guessed_transfer_syntax")
    lookup(transfer_syntax)
    return FileMeta(
        prefix_bytes=end,
        transfer_syntax_uid=transfer_syntax,
        sop_class_uid=_uid(values.get(0x0002, b"")),
        sop_instance_uid=_uid(values.get(0x0003, b"")),
        values=MappingProxyType(values),
        notes=frozenset(notes),
    )


def file_prefix(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, "DICM" and file meta information of a file made here (PS3.10 7.1).

    Raises UnsupportedTransferSyntax; DataSetMalformed when a UID is empty, longer than 64 or has other
    characters than PS3.5 9.1 permits.
    """
    lookup(transfer_syntax_uid)
    for uid in (sop_class_uid, sop_instance_uid):
        check_uid(uid, "file meta information")
    body = b"".join(
        (
            pack("<HH2sHI2s", 2, 1, b"OB", 0, 2, b"\0\1"),
            _short(0x0002, b"UI", sop_class_uid.encode("ascii")),
            _short(0x0003, b"UI", sop_instance_uid.encode("ascii")),
            _short(0x0010, b"UI", transfer_syntax_uid.encode("ascii")),
            _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
            _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
        )
    )
    return bytes(128) + b"DICM" + _short(0x0000, b"UL", _LENGTH.pack(len(body))) + body


def check_uid(uid: str, where: str) -> None:
    """Raises DataSetMalformed unless `uid` has 1-64 digits and dots (PS3.5 9.1; leading zeros are tolerated)."""
    if not 0 < len(uid) <= 64:
        raise DataSetMalformed(f"expected a UID of 1 to 64 characters in {where}, got {len(uid)}")
    if not set(uid) <= _UID_CHARACTERS or uid[0] == "." or uid[-1] == "." or ".." in uid:
        raise DataSetMalformed(f"expected a UID of digits and single dots in {where}, got other characters")


_UID_CHARACTERS: Final = frozenset("0123456789.")


def _data_position(data: Buffer) -> int:
    """Where group 0002, or the data set of a file without it, begins (rule 1)."""
    if bytes(data[128:_BEHIND_MAGIC]) == b"DICM" and _plausible(data, _BEHIND_MAGIC):
        return _BEHIND_MAGIC
    return 4 if bytes(data[:4]) == b"DICM" else 0


def _plausible(data: Buffer, position: int) -> bool:
    group = int.from_bytes(data[position : position + 2], "little")
    return 0 < group <= _LAST_FIRST_GROUP or 0 < (group & 0xFF) << 8 | group >> 8 <= _LAST_FIRST_GROUP


def _short(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) & 1:
        value += b"\0" if vr == b"UI" else b" "
    return _HEAD.pack(2, number, vr, len(value)) + value


def _uid(raw: bytes) -> str:
    return raw.rstrip(b"\0 ").decode("ascii", "replace")


def _meta(data: Buffer, position: int, notes: set[str]) -> tuple[dict[int, bytes], int]:
    values: dict[int, bytes] = {}
    start = position
    declared = -1
    while len(data) - position >= 8:
        group, number, vr, length = _HEAD.unpack_from(data, position)
        if group != 2:
            break
        value = position + 8
        if vr in LONG_VRS:
            if len(data) - position < 12:
                raise DataSetMalformed("expected a file meta element, got the end of the file", position)
            length = _LENGTH.unpack_from(data, position + 8)[0]
            value = position + 12
        elif vr not in SHORT_VRS:
            length = _LENGTH.unpack_from(data, position + 4)[0]
            notes.add("implicit_meta")
        if length > len(data) - value:
            raise DataSetMalformed(f"expected a file meta value of {length} bytes, got the end", position)
        if value + length - start > MAX_META_BYTES:
            raise DataSetLimitExceeded(f"expected at most {MAX_META_BYTES} bytes of file meta, got more")
        values[number] = bytes(data[value : value + length])
        position = value + length
        if number == 0 and length == 4:
            declared = position + _LENGTH.unpack(values[0])[0]
    if not values:
        notes.add("no_meta")
    elif declared != position:
        notes.add("wrong_meta_length")
    return values, position


def _guess(data: Buffer, position: int) -> str:
    """The encoding of a data set without file meta, read off its first element header (rule 3)."""
    if len(data) - position < 8:
        raise DataSetMalformed("expected a DICOM file, got no data set", position)
    group, _, vr, _ = _HEAD.unpack_from(data, position)
    explicit = vr in SHORT_VRS or vr in LONG_VRS
    if 0 < group <= _LAST_FIRST_GROUP:
        return EXPLICIT_VR_LITTLE_ENDIAN if explicit else IMPLICIT_VR_LITTLE_ENDIAN
    swapped = (group & 0xFF) << 8 | group >> 8
    if explicit and 0 < swapped <= _LAST_FIRST_GROUP:
        return EXPLICIT_VR_BIG_ENDIAN
    raise DataSetMalformed("expected a DICOM file, got neither file meta nor a data set", position)
