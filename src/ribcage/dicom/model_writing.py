"""A data set in the DICOM JSON Model (PS3.18 Annex F) written in Explicit VR Little Endian: undoes `json_model`.

Rules, in order:
1. Each value is checked against its VR; what does not fit is `DataSetMalformed`, never mended. A VR that is not
   named is that of PS3.6, where it has one.
2. Text is Unicode: it is written in UTF-8, and (0008,0005) says ISO_IR 192 wherever it stands, or where something
   else than ASCII is written (PS3.18 F.2).
3. Group lengths are left out; groups 0000 and 0002 and delimiters are no part of a data set.
4. A BulkDataURI is a name, never an address: who calls gives the bytes for it, and only for binary values
   (PS3.18 F.2.6). Sequences and items have defined lengths; fragments of compressed pixels are one to a frame, behind
   an empty offset table (PS3.5 A.4).
5. Depth is limited by `ScanLimits.max_depth`.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct, error
from typing import Final

from ribcage.dicom.dictionary import vr_of
from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed
from ribcage.dicom.json_model import Json
from ribcage.dicom.rewrite import element_header, encode_element
from ribcage.dicom.scan import (
    BULK_TAGS,
    DEFAULT_LIMITS,
    ITEM,
    LONG_VRS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    Buffer,
    Encoding,
)
from ribcage.dicom.values import CHARSET_VRS, NUMBER_FORMATS, SINGLE_TEXT_VRS

Model = Mapping[str, Json]

_CHARSET: Final = 0x00080005
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_VRS: Final = frozenset({*SHORT_VRS.values(), *LONG_VRS.values()})
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_LITTLE: Final = Encoding.EXPLICIT_LE
_LAST_FOREIGN_GROUP: Final = 0x0002
_DELIMITERS: Final = 0xFFFE
_MOST_DECIMAL_CHARS: Final = 16  # of a DS (PS3.5 6.2)
_MOST_BYTES: Final = 0xFFFFFFFE
_STRUCTS: Final = {vr: Struct("<" + code) for vr, code in NUMBER_FORMATS.items()}
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True, slots=True)
class Bulk:
    """A value that stood outside: its bytes, or the compressed frames."""

    parts: Sequence[Buffer]
    encapsulated: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that stands outside: `tag` of the element, `top` where it is of the data set itself."""

    tag: int
    uri: str
    top: bool

    @property
    def pixels(self) -> bool:
        """Whether it is the pixels."""
        return self.top and self.tag in BULK_TAGS


FindBulk = Callable[[Reference], Bulk]


def references(model: Model, most_depth: int = DEFAULT_LIMITS.max_depth) -> Iterator[Reference]:
    """What stands outside, at any depth. Raises DataSetMalformed, DataSetLimitExceeded."""
    return _references(model, most_depth, top=True)


def write(model: Model, bulk: FindBulk, most_depth: int = DEFAULT_LIMITS.max_depth) -> list[Buffer]:
    """The data set, as parts to be joined. Raises DataSetMalformed, DataSetLimitExceeded and what `bulk` raises."""
    writer = _Writer(bulk)
    parts, _ = writer.container(model, most_depth, utf8=_beyond_ascii(model, most_depth))
    return parts


def text_of(model: Model, tag: int) -> str:
    """The first value of an attribute of the data set as text, "" where there is none."""
    _, attribute = next((each for each in _attributes(model) if each[0] == tag), (0, {}))
    values = _values(attribute)
    return str(values[0]).strip() if values and isinstance(values[0], str | int | float) else ""


class _Writer:
    def __init__(self, bulk: FindBulk) -> None:
        self._bulk = bulk

    def container(
        self, model: Model, depth: int, *, utf8: bool, top: bool = True
    ) -> tuple[list[Buffer], int]:
        """Encoded elements in order of their tags, and their length."""
        if depth < 0:
            raise DataSetLimitExceeded("expected fewer sequences inside sequences")
        parts: list[Buffer] = []
        length, charset = 0, utf8
        for tag, attribute in sorted(_attributes(model), key=lambda each: each[0]):
            if charset and tag >= _CHARSET:
                length += _add(parts, [_UTF8], len(_UTF8))
                charset = False
            if tag == _CHARSET:
                if not utf8:
                    length += _add(parts, [_UTF8], len(_UTF8))
            elif tag & 0xFFFF and tag >> 16 > _LAST_FOREIGN_GROUP:
                length += _add(parts, *self._element(tag, attribute, depth, top))
        if charset:
            length += _add(parts, [_UTF8], len(_UTF8))
        return parts, length

    def _element(
        self, tag: int, attribute: Mapping[str, Json], depth: int, top: bool
    ) -> tuple[list[Buffer], int]:
        vr = _vr(tag, attribute)
        if "BulkDataURI" in attribute:
            return self._outside(tag, vr, _reference(tag, attribute, top=top))
        if vr == "SQ":
            return self._sequence(tag, attribute, depth)
        return _whole(encode_element(tag, vr, _value(vr, attribute), _LITTLE))

    def _outside(self, tag: int, vr: str, reference: Reference) -> tuple[list[Buffer], int]:
        """Rule 4."""
        if vr not in _BINARY and vr not in NUMBER_FORMATS:
            raise DataSetMalformed(f"expected a binary value behind a BulkDataURI, got VR {vr}")
        found = self._bulk(reference)
        if found.encapsulated:
            return _fragments(tag, found.parts)
        length = sum(len(part) for part in found.parts)
        padded = length + (length & 1)
        if padded > (_MOST_BYTES if vr.encode() in LONG_VRS else 0xFFFF):
            raise DataSetMalformed("expected a value that its VR's length field holds")
        head = element_header(tag, vr, padded, _LITTLE)
        return [head, *found.parts, b"\0" * (length & 1)], len(head) + padded

    def _sequence(self, tag: int, attribute: Mapping[str, Json], depth: int) -> tuple[list[Buffer], int]:
        parts: list[Buffer] = []
        length = 0
        for item in _values(attribute):
            if item is not None and not isinstance(item, dict):
                raise DataSetMalformed("expected items in a sequence")
            inner, count = self.container(item or {}, depth - 1, utf8=False, top=False)
            head = element_header(ITEM, "", _sized(count), _LITTLE)
            length += _add(parts, [head, *inner], len(head) + count)
        head = element_header(tag, "SQ", _sized(length), _LITTLE)
        return [head, *parts], len(head) + length


_UTF8: Final = encode_element(_CHARSET, "CS", b"ISO_IR 192", _LITTLE)


def _add(parts: list[Buffer], more: Sequence[Buffer], length: int) -> int:
    parts += more
    return length


def _whole(encoded: bytes) -> tuple[list[Buffer], int]:
    return [encoded], len(encoded)


def _sized(length: int) -> int:
    if length > _MOST_BYTES:
        raise DataSetLimitExceeded("expected a sequence of less than 4 GiB")
    return length


def _fragments(tag: int, frames: Sequence[Buffer]) -> tuple[list[Buffer], int]:
    """Compressed pixels (PS3.5 A.4)."""
    head = element_header(tag, "OB", UNDEFINED, _LITTLE) + element_header(ITEM, "", 0, _LITTLE)
    parts: list[Buffer] = [head]
    length = len(head)
    for frame in frames:
        padded = _sized(len(frame) + (len(frame) & 1))
        lead = element_header(ITEM, "", padded, _LITTLE)
        length += _add(parts, [lead, frame, b"\0" * (len(frame) & 1)], len(lead) + padded)
    end = element_header(SEQUENCE_END, "", 0, _LITTLE)
    return [*parts, end], length + len(end)


# --- the model ------------------------------------------------------------------------------------------


def _attributes(model: Model) -> Iterator[tuple[int, Mapping[str, Json]]]:
    """Tags and attributes, each tag once. Raises DataSetMalformed."""
    seen = set()
    for name, attribute in model.items():
        if _TAG.fullmatch(name) is None or not isinstance(attribute, dict):
            raise DataSetMalformed("expected attributes named by eight hexadecimal digits")
        tag = int(name, 16)
        if tag in seen or tag >> 16 == _DELIMITERS:
            raise DataSetMalformed("expected each tag once, and no delimiter")
        seen.add(tag)
        yield tag, attribute


def _vr(tag: int, attribute: Mapping[str, Json]) -> str:
    """Rule 1."""
    vr = attribute.get("vr", vr_of(tag))
    if not isinstance(vr, str) or vr not in _VRS:
        raise DataSetMalformed(f"expected a VR of PS3.5 in ({tag >> 16:04X},{tag & 0xFFFF:04X})")
    return vr


def _values(attribute: Mapping[str, Json]) -> list[Json]:
    values = attribute.get("Value")
    if values is None:
        return []
    if not isinstance(values, list):
        raise DataSetMalformed("expected Value to be an array")
    return values


def _reference(tag: int, attribute: Mapping[str, Json], *, top: bool) -> Reference:
    uri = attribute["BulkDataURI"]
    if not isinstance(uri, str) or not uri or "Value" in attribute or "InlineBinary" in attribute:
        raise DataSetMalformed("expected a BulkDataURI and no value beside it")
    return Reference(tag, uri, top)


def _references(model: Model, depth: int, *, top: bool) -> Iterator[Reference]:
    if depth < 0:
        raise DataSetLimitExceeded("expected fewer sequences inside sequences")
    for tag, attribute in _attributes(model):
        if "BulkDataURI" in attribute:
            yield _reference(tag, attribute, top=top)
        else:
            for item in _items(attribute):
                yield from _references(item, depth - 1, top=False)


def _items(attribute: Mapping[str, Json]) -> Iterator[Model]:
    if attribute.get("vr", "SQ") == "SQ":
        yield from (item for item in _values(attribute) if isinstance(item, dict))


def _beyond_ascii(model: Model, depth: int) -> bool:
    """Whether some text needs a character set (rule 2)."""
    if depth < 0:
        raise DataSetLimitExceeded("expected fewer sequences inside sequences")
    for _, attribute in _attributes(model):
        if any(_beyond_ascii(item, depth - 1) for item in _items(attribute)):
            return True
        for value in _values(attribute):
            texts = value.values() if isinstance(value, dict) and attribute.get("vr") == "PN" else (value,)
            if any(isinstance(text, str) and not text.isascii() for text in texts):
                return True
    return False


# --- values ---------------------------------------------------------------------------------------------


def _value(vr: str, attribute: Mapping[str, Json]) -> bytes:
    """The encoded value, unpadded. Raises DataSetMalformed."""
    if "InlineBinary" in attribute:
        return _inline(vr, attribute)
    values = _values(attribute)
    if vr in _BINARY:
        if values:
            raise DataSetMalformed(f"expected InlineBinary or a BulkDataURI for VR {vr}")
        return b""
    try:
        if vr in _STRUCTS:
            return b"".join(_STRUCTS[vr].pack(_number(value, vr)) for value in values)
        if vr == "AT":
            return b"".join(_tag(value) for value in values)
    except (error, OverflowError, ValueError) as failure:
        raise DataSetMalformed(f"expected numbers of VR {vr}") from failure
    return _encoded("\\".join(_text(value, vr) for value in values), vr)


def _inline(vr: str, attribute: Mapping[str, Json]) -> bytes:
    given = attribute["InlineBinary"]
    if "Value" in attribute or not isinstance(given, str) or vr not in _BINARY:
        raise DataSetMalformed("expected InlineBinary as one base64 text of a binary value")
    try:
        return b64decode(given, validate=True)
    except (binascii.Error, ValueError) as failure:
        raise DataSetMalformed("expected base64 in InlineBinary") from failure


def _number(value: Json, vr: str) -> int | float:
    """A number, also as text where JSON has none for it (PS3.18 F.2.3). Raises ValueError, OverflowError."""
    whole = vr not in ("FD", "FL", "OD", "OF")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("no number")
    if not whole:
        return float(value)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("no integer")
    return int(value)


def _tag(value: Json) -> bytes:
    if not isinstance(value, str) or _TAG.fullmatch(value) is None:
        raise ValueError("no tag")
    tag = int(value, 16)
    return (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")


def _text(value: Json, vr: str) -> str:
    if value is None:
        return ""
    if vr == "PN" and isinstance(value, dict):
        return _person_name(value)
    if vr in ("DS", "IS") and isinstance(value, int | float) and not isinstance(value, bool):
        return _decimal(value) if vr == "DS" else str(int(_number(value, vr)))
    if not isinstance(value, str):
        raise DataSetMalformed(f"expected text for VR {vr}")
    if "\\" in value and vr not in SINGLE_TEXT_VRS:
        raise DataSetMalformed("expected no backslash in one value; each value stands by itself")
    return value


def _person_name(groups: Mapping[str, Json]) -> str:
    if not set(groups) <= set(_GROUPS) or not all(isinstance(each, str) for each in groups.values()):
        raise DataSetMalformed("expected the component groups of a person name")
    texts = [str(groups.get(name, "")) for name in _GROUPS]
    if any("\\" in text or "=" in text for text in texts):
        raise DataSetMalformed("expected component groups without delimiters")
    return "=".join(texts).rstrip("=")


def _decimal(value: int | float) -> str:
    """A number as a decimal string that fits, the most digits that do."""
    text = repr(value)
    for digits in range(_MOST_DECIMAL_CHARS, 0, -1):
        if len(text) <= _MOST_DECIMAL_CHARS:
            break
        text = f"{value:.{digits}g}"
    return text


def _encoded(text: str, vr: str) -> bytes:
    try:
        return text.encode("utf-8" if vr in CHARSET_VRS else "ascii")
    except UnicodeEncodeError as failure:
        raise DataSetMalformed(f"expected text that VR {vr} may hold") from failure
