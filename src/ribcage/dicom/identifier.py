"""Identifiers of queries (PS3.4 C.4.1.1.3): keys out of a data set, and answers as data sets.

Rules, in order:
1. A key is a top-level element; what stands inside a sequence is not looked at. A key that stands twice is refused.
2. Text is decoded by the identifier's own Specific Character Set (PS3.4 C.2.2.2, PS3.5 6.1).
3. An answer is written in the asker's character set where that holds every value, read back by our own decoder to be
   sure; else in ISO_IR 192. Plain ASCII needs no character set.
4. Only Implicit and Explicit VR Little Endian are written: nothing else is negotiated for queries.
5. A mapping as a value is a sequence of one item, an empty one a sequence of none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from types import MappingProxyType
from typing import Final

from ribcage.dicom.dictionary import vr_of
from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.scan import LONG_VRS, ScanLimits, scan
from ribcage.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from ribcage.dicom.values import (
    CHARSET_VRS,
    DEFAULT_CHARSET,
    ESCAPES,
    NUMBER_FORMATS,
    Charset,
    charset_of,
    decode_text,
    known_vr,
    numbers,
    text_values,
)

CHARACTER_SET: Final = 0x00080005
UTF_8: Final = "ISO_IR 192"
IDENTIFIER_LIMITS: Final = ScanLimits(max_data_set_bytes=262_144, max_depth=8, max_elements=2048)
_KATAKANA: Final = b"\x1b)I"  # of ISO IR 13: its other half is nearly ASCII
_ESCAPES: Final[Mapping[str, bytes]] = MappingProxyType(
    {codec: escape for escape, codec in ESCAPES.items()} | {"shift_jis": _KATAKANA}
)
_SELF_ESCAPING: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})
_DELIMITERS: Final = re.compile(r"([\\^=])")
_IMPLICIT: Final = Struct("<HHI").pack
_SHORT: Final = Struct("<HH2sH").pack
_LONG: Final = Struct("<HH2s2xI").pack

Value = str | int | list[str] | Mapping[int, "Value"]


@dataclass(frozen=True, slots=True)
class Identifier:
    """The keys of a request by tag, as text ("" for universal matching); `character_set` as declared."""

    keys: Mapping[int, str]
    sequences: frozenset[int]
    character_set: str


def read(data: bytes | bytearray, transfer_syntax: str) -> Identifier:
    """The identifier of a request. Raises DataSetMalformed or DataSetLimitExceeded (rules 1 and 2)."""
    scanned = scan(data, transfer_syntax, IDENTIFIER_LIMITS)
    raw: dict[int, tuple[str, bytes]] = {}
    sequences = set()
    for element in scanned.elements:
        if element.tag & 0xFFFF == 0 or element.tag & 0x10000:
            continue  # group lengths and private keys are no keys of ours
        if element.tag in raw or element.tag in sequences:
            raise DataSetMalformed("expected each key once, got one twice", element.start)
        if element.vr == "SQ" or vr_of(element.tag) == "SQ":
            sequences.add(element.tag)
        else:
            raw[element.tag] = (known_vr(element.tag, element.vr), bytes(scanned.value(element)))
    declared = raw.pop(CHARACTER_SET, ("CS", b""))[1]
    charset = charset_of(declared)
    keys = {tag: _text(vr, value, charset) for tag, (vr, value) in raw.items()}
    return Identifier(keys, frozenset(sequences), declared.rstrip(b"\0 ").decode("ascii", "replace"))


def _text(vr: str, raw: bytes, charset: Charset) -> str:
    if vr in NUMBER_FORMATS or vr == "AT":
        return "\\".join(str(number) for number in numbers(raw, vr))
    return "\\".join(text_values(raw, vr, charset))


def write(values: Mapping[int, Value], character_set: str, transfer_syntax: str) -> bytes:
    """An answer's data set, Specific Character Set first where one is needed (rules 3 and 4).

    `character_set` is the request's.
    """
    wide = list(_wide(values))
    declared, charset = ("", DEFAULT_CHARSET) if not wide else _choose(wide, character_set)
    implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    parts = _parts(values, charset, implicit=implicit)
    if declared:
        parts[CHARACTER_SET] = _encoded("CS", declared, charset)
    return b"".join(elements(parts, implicit=implicit))


def _wide(values: Mapping[int, Value]) -> Iterator[str]:
    """Texts that need a character set."""
    for tag, value in values.items():
        if isinstance(value, Mapping):
            yield from _wide(value)
        elif not isinstance(value, int) and vr_of(tag) in CHARSET_VRS and not _joined(value).isascii():
            yield _joined(value)


def _parts(values: Mapping[int, Value], charset: Charset, *, implicit: bool) -> dict[int, bytes]:
    """Encoded values by tag (rule 5)."""
    parts = {}
    for tag, value in values.items():
        if isinstance(value, Mapping):
            body = b"".join(elements(_parts(value, charset, implicit=implicit), implicit=implicit))
            parts[tag] = _IMPLICIT(0xFFFE, 0xE000, len(body)) + body if body else b""
        else:
            parts[tag] = _encoded(vr_of(tag), value, charset)
    return parts


def _joined(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "\\".join(value)


def _choose(texts: list[str], asked: str) -> tuple[str, Charset]:
    charset = charset_of(asked.encode("ascii", "replace"))
    if charset.declared and all(_holds(text, charset) for text in texts):
        return asked, charset
    return UTF_8, charset_of(UTF_8.encode())


def _holds(text: str, charset: Charset) -> bool:
    """Whether the text comes back from this character set; a person name is the stricter reading."""
    raw = _text_bytes(text, charset)
    return raw is not None and decode_text(raw, charset, person_name=True) == text


def _text_bytes(text: str, charset: Charset) -> bytes | None:
    """The text in this character set, with ISO 2022 escapes after each delimiter where needed (PS3.5 6.1.2.5)."""
    first, *others = charset.codecs
    if not others:
        return _plain(text, first)
    parts = []
    for piece in _DELIMITERS.split(text):
        raw = _plain(piece, first) if first not in _SELF_ESCAPING or piece.isascii() else None
        for codec in (*others, first) if raw is None else ():
            body = _plain(piece, codec)
            if body is not None:
                raw = body if codec in _SELF_ESCAPING else _ESCAPES.get(codec, b"") + body
                break
        if raw is None:
            return None
        parts.append(raw)
    return b"".join(parts)


def _plain(text: str, codec: str) -> bytes | None:
    try:
        return text.encode(codec)
    except UnicodeEncodeError:
        return None


def _encoded(vr: str, value: str | int | list[str], charset: Charset) -> bytes:
    if isinstance(value, int) and vr in NUMBER_FORMATS:
        return Struct("<" + NUMBER_FORMATS[vr]).pack(value)
    text = str(value) if isinstance(value, int) else _joined(value)
    if vr not in CHARSET_VRS or not charset.declared:
        raw = text.encode("ascii", "replace")
    else:
        raw = _text_bytes(text, charset) or b""
    return raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)


def elements(parts: Mapping[int, bytes], *, implicit: bool) -> Iterator[bytes]:
    """Elements in ascending order, from encoded values by tag; a 16-bit length that is too small cuts its value."""
    for tag in sorted(parts):
        raw, vr = parts[tag], vr_of(tag).encode()
        if implicit:
            yield _IMPLICIT(tag >> 16, tag & 0xFFFF, len(raw)) + raw
        elif vr in LONG_VRS:
            yield _LONG(tag >> 16, tag & 0xFFFF, vr, len(raw)) + raw
        else:
            raw = raw[:0xFFFE]
            yield _SHORT(tag >> 16, tag & 0xFFFF, vr, len(raw)) + raw
