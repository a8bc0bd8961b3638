"""Values out of raw bytes: text in its character set, numbers, UIDs. Bounded; bad values never raise here.

Rules, in order:
1. Text is decoded by the Specific Character Set of its data set or item (PS3.5 6.1, PS3.3 C.12.1.1.2), with code
   extensions by ISO 2022 escapes; at a delimiter the first character set is active again (PS3.5 6.1.2.5.3).
2. Declared bytes that do not decode become U+FFFD. Without a declaration, bytes beyond ASCII are tried as UTF-8,
   then GB18030, then Latin-1: the first that decodes whole.
3. Values are split at the backslash after decoding, because GB18030, GBK and Shift-JIS use 5CH as a second byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Final

from ribcage.dicom.dictionary import vr_of
from ribcage.dicom.scan import Encoding

# Codecs by defined term and by escape (PS3.3 C.12.1.1.2, PS3.5 6.1.2.5.4), as pydicom has them.
_CODECS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "": "iso8859",
        "ISO_IR 6": "iso8859",
        "ISO_IR 13": "shift_jis",
        "ISO_IR 100": "latin_1",
        "ISO_IR 101": "iso8859_2",
        "ISO_IR 109": "iso8859_3",
        "ISO_IR 110": "iso8859_4",
        "ISO_IR 126": "iso_ir_126",
        "ISO_IR 127": "iso_ir_127",
        "ISO_IR 138": "iso_ir_138",
        "ISO_IR 144": "iso_ir_144",
        "ISO_IR 148": "iso_ir_148",
        "ISO_IR 166": "iso_ir_166",
        "ISO 2022 IR 6": "iso8859",
        "ISO 2022 IR 13": "shift_jis",
        "ISO 2022 IR 87": "iso2022_jp",
        "ISO 2022 IR 100": "latin_1",
        "ISO 2022 IR 101": "iso8859_2",
        "ISO 2022 IR 109": "iso8859_3",
        "ISO 2022 IR 110": "iso8859_4",
        "ISO 2022 IR 126": "iso_ir_126",
        "ISO 2022 IR 127": "iso_ir_127",
        "ISO 2022 IR 138": "iso_ir_138",
        "ISO 2022 IR 144": "iso_ir_144",
        "ISO 2022 IR 148": "iso_ir_148",
        "ISO 2022 IR 149": "euc_kr",
        "ISO 2022 IR 159": "iso2022_jp_2",
        "ISO 2022 IR 166": "iso_ir_166",
        "ISO 2022 IR 58": "iso_ir_58",
        "ISO_IR 192": "UTF8",
        "GB18030": "GB18030",
        "ISO 2022 GBK": "GBK",
        "ISO 2022 58": "GB2312",
        "GBK": "GBK",
    }
)
ESCAPES: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        b"\x1b(B": "iso8859",
        b"\x1b-A": "latin_1",
        b"\x1b)I": "shift_jis",
        b"\x1b(J": "shift_jis",
        b"\x1b$B": "iso2022_jp",
        b"\x1b-B": "iso8859_2",
        b"\x1b-C": "iso8859_3",
        b"\x1b-D": "iso8859_4",
        b"\x1b-F": "iso_ir_126",
        b"\x1b-G": "iso_ir_127",
        b"\x1b-H": "iso_ir_138",
        b"\x1b-L": "iso_ir_144",
        b"\x1b-M": "iso_ir_148",
        b"\x1b-T": "iso_ir_166",
        b"\x1b$)C": "euc_kr",
        b"\x1b$(D": "iso2022_jp_2",
        b"\x1b$)A": "iso_ir_58",
    }
)
_WITH_ESCAPE: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})  # these codecs read the escape themselves
_STAND_ALONE: Final = frozenset({"utf_8", "utf8", "GB18030", "GBK"})
_UNDECLARED: Final = ("utf_8", "gb18030", "latin_1")

SINGLE_TEXT_VRS: Final = frozenset({"LT", "ST", "UR", "UT"})  # the backslash is text in these (PS3.5 6.2)
CHARSET_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
ASCII_VRS: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
NUMBER_FORMATS: Final = {
    "FD": "d",
    "FL": "f",
    "OD": "d",
    "OF": "f",
    "SL": "i",
    "SS": "h",
    "SV": "q",
    "UL": "I",
    "US": "H",
    "UV": "Q",
}
_NUMBERS: Final = {
    (vr, little): Struct(("<" if little else ">") + code)
    for vr, code in NUMBER_FORMATS.items()
    for little in (True, False)
}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,12}(\.0*)?")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Charset:
    """The codecs of one Specific Character Set. `declared` is False for the default repertoire alone."""

    codecs: tuple[str, ...]
    declared: bool


DEFAULT_CHARSET: Final = Charset(("iso8859",), declared=False)


@lru_cache(maxsize=256)
def charset_of(raw: bytes) -> Charset:
    """The character set that the raw value of (0008,0005) declares. Unknown terms count as undeclared."""
    terms = [term.strip() for term in raw[:256].rstrip(b"\0").decode("ascii", "replace").split("\\")]
    codecs = []
    for term in terms:
        codec = _CODECS.get(term) or _CODECS.get(_mended(term))
        if codec is not None:
            codecs.append(codec)
    declared = any(terms) and bool(codecs) and terms != ["ISO_IR 6"]
    return Charset(tuple(codecs), declared=True) if declared else DEFAULT_CHARSET


def _mended(term: str) -> str:
    """Common misspellings: "ISO IR 100", "ISO-IR 100", "ISO 2022_IR 58"."""
    found = re.fullmatch(r"ISO[ _-](2022[ _-])?IR[ _-](\d+)", term)
    if found is None:
        return term
    return f"ISO 2022 IR {found[2]}" if found[1] else f"ISO_IR {found[2]}"


def decode_text(raw: bytes, charset: Charset = DEFAULT_CHARSET, *, person_name: bool = False) -> str:
    """Text of the whole value, padding removed; never raises (rules 1 and 2)."""
    raw = raw.rstrip(b"\0 ")
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    if not charset.declared:
        for codec in _UNDECLARED:
            try:
                return raw.decode(codec)
            except UnicodeDecodeError:
                continue
    first = charset.codecs[0]
    if first in _STAND_ALONE or b"\x1b" not in raw:
        return raw.decode(first, "replace")
    return _decode_extended(raw, first, b"\\^=\r\n\f\t" if person_name else b"\\\r\n\f\t")


def _decode_extended(raw: bytes, first: str, delimiters: bytes) -> str:
    """Text with ISO 2022 escapes (PS3.5 6.1.2.5)."""
    decoded = []
    head, *rest = raw.split(b"\x1b")
    decoded.append(head.decode(first, "replace"))
    for fragment in rest:
        codec, skip = _after_escape(fragment)
        if codec in _WITH_ESCAPE:
            decoded.append((b"\x1b" + fragment).decode(codec, "replace"))
            continue
        body = fragment[skip:]
        cut = next((i for i, byte in enumerate(body) if byte in delimiters), len(body))
        decoded.append(body[:cut].decode(codec or first, "replace"))
        decoded.append(body[cut:].decode(first, "replace"))
    return "".join(decoded)


def _after_escape(fragment: bytes) -> tuple[str, int]:
    """Codec and escape length of a fragment behind ESC; "" when the escape is unknown."""
    for size in (3, 2):
        codec = ESCAPES.get(b"\x1b" + fragment[:size])
        if codec is not None:
            return codec, size
    return "", 0


def text_values(raw: bytes, vr: str, charset: Charset = DEFAULT_CHARSET) -> list[str]:
    """The values of a text element, trimmed as PS3.5 6.2 permits; [] for an empty one."""
    if vr in CHARSET_VRS:
        text = decode_text(raw, charset, person_name=vr == "PN")
    else:
        text = raw.rstrip(b"\0 ").decode("latin_1")
    if not text:
        return []
    if vr in SINGLE_TEXT_VRS:
        return [text]
    if vr in {"UC", "UI"}:
        return [value.rstrip(" \0") for value in text.split("\\")]
    return [value.strip(" \0") for value in text.split("\\")]


def numbers(raw: bytes, vr: str, *, little: bool = True) -> list[int | float]:
    """The values of a binary number VR or AT; bytes that do not fill a value are dropped."""
    if vr == "AT":
        half = _NUMBERS["US", little]
        return [
            half.unpack_from(raw, at)[0] << 16 | half.unpack_from(raw, at + 2)[0]
            for at in range(0, len(raw) // 4 * 4, 4)
        ]
    unpacker = _NUMBERS[vr, little]
    usable = len(raw) // unpacker.size * unpacker.size
    return [row[0] for row in unpacker.iter_unpack(raw[:usable])]


def integer(text: str) -> int | None:
    """An IS value, None when it is none (PS3.5 6.2; a zero fraction as some writers add is tolerated)."""
    if _INTEGER.fullmatch(text) is None:
        return None
    return int(text.split(".", 1)[0])


def decimal(text: str) -> float | None:
    """A DS value as a float, None when it is none (PS3.5 6.2); bounded to 64 characters."""
    if len(text) > 64 or _DECIMAL.fullmatch(text) is None:
        return None
    return float(text)


def concrete_vr(vr: str, tag: int, *, signed: bool, lut_entries: int = 0) -> str:
    """The VR to use where the table's VR depends on other elements (PS3.5 A.1, PS3.3 C.7.6.3, C.11.1).

    `signed` is Pixel Representation 1; `lut_entries` the first value of the LUT Descriptor beside LUT Data.
    """
    if vr == "xs":
        return "SS" if signed else "US"
    if vr == "ox":
        return "OW"
    if vr == "lt":
        if tag == 0x00283006:
            return "US" if lut_entries == 1 else "OW"
        return "SS" if signed else "US"
    return vr


def is_little(encoding: Encoding) -> bool:
    """Whether values of this encoding are little endian."""
    return encoding is not Encoding.EXPLICIT_BE


def known_vr(tag: int, vr: str) -> str:
    """UN replaced by the table's VR for standard tags (PS3.5 6.2.2: UN of a tag that this reader knows)."""
    if vr != "UN" or tag & 0x10000:
        return vr
    return vr_of(tag)
