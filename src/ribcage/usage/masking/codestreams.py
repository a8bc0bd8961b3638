"""The masked view of a compressed frame: text places inside the codestream are blanked, lengths stay, pixels too.

Rules, in order (DESIGN rule 7):
1. JPEG and JPEG-LS (ISO/IEC 10918-1, 14495-1): the contents of APPn, JPGn and COM segments become zeros, but for
   what a decoder needs, written anew: JFIF's name, Adobe's colour transform, the colour transform of JPEG-LS.
2. JPEG 2000 and HTJ2K (ISO/IEC 15444-1, -2, -15): the contents of COM segments become zeros, in the main header and
   in those of tile-parts. In a JP2 file only the boxes a decoder needs keep their contents; a colour profile is
   refused.
3. RLE (PS3.5 G): offsets of segments that are not there become zeros.
4. Bytes behind the end of the codestream become zeros.
5. A marker or box structure that cannot be followed, and every syntax without a rule here (video, JPEG XL), is
   `NoMaskingRule`: unknown is denied.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Final

from ribcage.dicom.transfer_syntaxes import lookup
from ribcage.usage.masking.errors import NoMaskingRule

_ROOT: Final = "1.2.840.10008.1.2."
_JPEG: Final = frozenset({f"{_ROOT}4.{number}" for number in (*range(50, 67), 70, 80, 81)})
_JPEG_2000: Final = frozenset({f"{_ROOT}4.{number}" for number in (90, 91, 92, 93, 201, 202, 203)})
_RLE: Final = f"{_ROOT}5"
_PLAIN: Final = frozenset({f"{_ROOT}1.98", f"{_ROOT}8.1"})  # pixels alone, deflated or not

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_JPEG_KEPT: Final = frozenset({*range(0xC0, 0xD0), *range(0xDB, 0xE0), 0xF7, 0xF8})
_JPEG_BLANKED: Final = frozenset({*range(0xE0, 0xF0), *range(0xF0, 0xF7), *range(0xF9, 0xFF)})
_JFIF: Final = b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"  # 1.01, no units, no thumbnail

_SOC, _SOT, _SOD, _EOC, _COM = 0xFF4F, 0xFF90, 0xFF93, 0xFFD9, 0xFF64
_J2K_KEPT: Final = frozenset(
    {0xFF50, 0xFF51, 0xFF52, 0xFF53, 0xFF55, 0xFF57, 0xFF58, 0xFF59, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F, 0xFF60, 0xFF61,
     0xFF63, *range(0xFF72, 0xFF7A)}
)  # fmt: skip
_SIGNATURE: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
_BOXES: Final = frozenset({b"jP  ", b"ftyp"})
_HEADER_BOXES: Final = frozenset({b"ihdr", b"bpcc", b"pclr", b"cmap", b"cdef"})


def has_rule(transfer_syntax_uid: str) -> bool:
    """Whether pixels of this syntax have a masked view."""
    if not lookup(transfer_syntax_uid).encapsulated:
        return True
    return transfer_syntax_uid in _JPEG | _JPEG_2000 | _PLAIN | {_RLE}


def blank_text(frame: bytes, transfer_syntax_uid: str) -> bytes:
    """One encapsulated frame (its fragments joined) without text, of the same length. Raises NoMaskingRule."""
    if transfer_syntax_uid in _PLAIN:
        return frame
    out = bytearray(frame)
    if transfer_syntax_uid in _JPEG:
        _jpeg(out)
    elif transfer_syntax_uid in _JPEG_2000:
        _jp2(out) if frame.startswith(_SIGNATURE) else _zero(out, _codestream(out, 0, len(out)), len(out))
    elif transfer_syntax_uid == _RLE:
        _rle(out)
    else:
        raise NoMaskingRule("expected a compression with a masking rule; ask for the full view")
    return bytes(out)


def _unclear() -> NoMaskingRule:
    return NoMaskingRule("expected a codestream that can be followed to its end; ask for the full view")


def _zero(out: bytearray, start: int, end: int) -> None:
    out[start:end] = bytes(max(0, end - start))


def _word(out: bytearray, at: int) -> int:
    if at + 2 > len(out):
        raise _unclear()
    return out[at] << 8 | out[at + 1]


def _jpeg(out: bytearray) -> None:
    if _word(out, 0) != 0xFF00 | _SOI:
        raise _unclear()
    at = 2
    while True:
        if _word(out, at) >> 8 != 0xFF:
            raise _unclear()
        marker = out[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _EOI:
            _zero(out, at + 2, len(out))
            return
        length = _word(out, at + 2)
        start, end = at + 4, at + 2 + length
        if length < 2 or end > len(out):
            raise _unclear()
        if marker in _JPEG_BLANKED:
            kept = _application(marker, bytes(out[start:end]))
            out[start:end] = kept.ljust(end - start, b"\0")
        elif marker != _SOS and marker not in _JPEG_KEPT:
            raise _unclear()
        at = _after_scan(out, end) if marker == _SOS else end


def _application(marker: int, content: bytes) -> bytes:
    """What of an application segment a decoder needs, written anew."""
    if marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= len(_JFIF):
        return _JFIF
    if marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12 and content[11] <= 2:
        return b"Adobe\0\x64\0\0\0\0" + content[11:12]
    if marker == 0xE8 and content.startswith(b"mrfx") and len(content) == 5 and content[4] <= 4:
        return content
    return b""


def _after_scan(out: bytearray, at: int) -> int:
    """Where the next marker behind entropy-coded data stands."""
    while True:
        at = out.find(b"\xff", at)
        if at < 0 or at + 1 >= len(out):
            raise _unclear()
        code = out[at + 1]
        if code < 0x80 or 0xD0 <= code <= 0xD7:  # stuffing or a restart
            at += 2
        elif code == 0xFF:
            at += 1
        else:
            return at


def _codestream(out: bytearray, at: int, stop: int) -> int:
    """Blank a JPEG 2000 codestream in place; where it ends."""
    if _word(out, at) != _SOC:
        raise _unclear()
    at = _segments(out, at + 2, stop, until=_SOT)
    while at < stop and _word(out, at) == _SOT:
        if at + 12 > stop:
            raise _unclear()
        length = int(unpack_from(">I", out, at + 6)[0])
        data = _segments(out, at + 12, stop, until=_SOD) + 2
        end = at + length if length else stop
        if end > stop or end < data:
            raise _unclear()
        if not length:  # the last tile-part goes on to the end
            end = out.rfind(_EOC.to_bytes(2, "big"), data, stop)
            if end < 0:
                return stop
        at = end
    if at == stop:
        return at
    if _word(out, at) != _EOC:
        raise _unclear()
    return at + 2


def _segments(out: bytearray, at: int, stop: int, until: int) -> int:
    """Walk marker segments to `until`, blanking comments; where `until` stands."""
    while (marker := _word(out, at)) != until:
        length = _word(out, at + 2)
        end = at + 2 + length
        if length < 2 or end > stop or (marker != _COM and marker not in _J2K_KEPT):
            raise _unclear()
        if marker == _COM:
            _zero(out, at + 4, end)
        at = end
    return at


def _jp2(out: bytearray) -> None:
    for kind, start, end in _boxes(out, 0, len(out)):
        if kind == b"jp2c":
            _zero(out, _codestream(out, start, end), end)
        elif kind == b"jp2h":
            for inner, inner_start, inner_end in _boxes(out, start, end):
                if inner == b"colr":
                    if out[inner_start] != 1 or inner_end - inner_start != 7:
                        raise _unclear()
                elif inner not in _HEADER_BOXES:
                    _zero(out, inner_start, inner_end)
        elif kind not in _BOXES:
            _zero(out, start, end)


def _boxes(out: bytearray, at: int, stop: int) -> list[tuple[bytes, int, int]]:
    """Type and content of each box (ISO/IEC 15444-1 I.4)."""
    found = []
    while at < stop:
        if at + 8 > stop:
            if any(out[at:stop]):
                raise _unclear()
            break
        length, kind = int(unpack_from(">I", out, at)[0]), bytes(out[at + 4 : at + 8])
        start = at + 8
        if length == 1:
            length = int(unpack_from(">Q", out, start)[0]) if start + 8 <= stop else 0
            start += 8
        end = at + length if length else stop
        if end > stop or end < start:
            raise _unclear()
        found.append((kind, start, end))
        at = end
    return found


def _rle(out: bytearray) -> None:
    if len(out) < 64:
        raise _unclear()
    count = int(unpack_from("<I", out)[0])
    if not 1 <= count <= 15:
        raise _unclear()
    _zero(out, 4 + 4 * count, 64)
