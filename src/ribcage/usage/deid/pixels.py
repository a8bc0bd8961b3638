"""The pixel element: whether it may leave, and what of it leaves.

Rules, in order (DESIGN rule 7):
1. `PixelReader` is the seam for whoever reads pixels: it gets the scanned instance and says NOT_READ, NO_TEXT or
   TEXT. Without one every instance is NOT_READ.
2. TEXT is refused always. NOT_READ is refused where text is likely: Burned In Annotation YES, classes that show
   screens (secondary capture, ultrasound, angiography, photography, scanned documents), colour, ImageType of screens.
3. Recognisable features: the option is refused for every instance with pixels; nothing here takes a face away.
4. Native pixels must have the length that rows, columns, bits and frames say. One byte of padding may follow.
5. Bits beyond Bits Stored hold nothing or the sign; anything else there is cleared (PS3.5 8.1.1: old overlays).
6. Compressed frames go through `masking.codestreams`: text in segments becomes zeros, lengths and pixels stay. What
   that cannot follow (video, JPEG XL) is refused. Bytes between frames and behind them do not leave.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from struct import pack
from typing import Final

from ribcage.dicom.errors import DicomError
from ribcage.dicom.pixel_frames import PIXEL_FACTS, FrameIndex, PixelElement, PixelFacts, pixel_facts
from ribcage.dicom.rewrite import element_header
from ribcage.dicom.scan import ITEM, SEQUENCE_END, UNDEFINED, Buffer, Element, Encoding, Scan
from ribcage.dicom.transfer_syntaxes import lookup
from ribcage.dicom.values import numbers
from ribcage.usage.deid.errors import NotReleased, Reason
from ribcage.usage.masking.codestreams import blank_text
from ribcage.usage.masking.errors import NoMaskingRule


class PixelVerdict(Enum):
    """What a reader of pixels says of one instance."""

    NOT_READ = "not read"
    NO_TEXT = "no text"
    TEXT = "text"


PixelReader = Callable[[Scan], PixelVerdict]

_ITEM_BYTES: Final = 8
_PIECE: Final = 256 * 1024
_BURNED_IN, _IMAGE_TYPE, _CLASS = 0x00280301, 0x00080008, 0x00080016
_STORED, _HIGH, _SIGNED = 0x00280101, 0x00280102, 0x00280103
_CONVERSION: Final = 0x00080064
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
# Classes whose pixels come from a detector and a reconstruction, not from a screen.
_QUIET: Final = frozenset(
    _STORAGE + rest
    for rest in (
        "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "2.1", "2.2", "4", "4.1", "4.2", "4.4", "13.1.1",
        "13.1.2", "13.1.3", "13.1.4", "13.1.5", "20", "128", "128.1", "130", "481.1", "481.2", "30", "66.4", "66",
    )
)  # fmt: skip
_SCREENS: Final = (b"SCREEN", b"CAPTURE", b"REPORT", b"PRINT", b"DOSE", b"PROT", b"FUSION", b"COLOR")


def not_read(_: Scan) -> PixelVerdict:
    """The reader that has not read anything."""
    return PixelVerdict.NOT_READ


def text_is_likely(scanned: Scan, sop_class_uid: str, facts: PixelFacts) -> bool:
    """Whether pixels that nobody read may carry text (rule 2)."""
    burned = scanned.find(_BURNED_IN)
    if burned is not None and scanned.value(burned).strip(b"\0 ") == b"YES":
        return True
    if sop_class_uid not in _QUIET or scanned.find(_CONVERSION) is not None:
        return True
    kind = scanned.find(_IMAGE_TYPE)
    told = b"" if kind is None else scanned.value(kind).upper()
    return facts.samples_per_pixel != 1 or any(word in told for word in _SCREENS)


@dataclass(frozen=True, slots=True)
class Described:
    """What a data set says of its pixels, as far as their release rests on it."""

    facts: PixelFacts
    stored: int
    high: int
    signed: bool


# The attributes that `described` and `text_is_likely` look at.
ASKED: Final = PIXEL_FACTS | {_STORED, _HIGH, _SIGNED, _BURNED_IN, _IMAGE_TYPE, _CONVERSION}


def described(scanned: Scan) -> Described:
    """The description of a scanned instance's pixels."""
    stored, high, signed = (_number(scanned, tag) for tag in (_STORED, _HIGH, _SIGNED))
    return Described(pixel_facts(scanned), stored, high, signed == 1)


def checked_pixels(scanned: Scan, bulk: Element, told: Described) -> list[Buffer]:
    """The pixel element as it leaves (rules 4 to 6). Raises NotReleased."""
    try:
        if bulk.length == UNDEFINED:
            return _compressed(scanned, bulk, told.facts)
        if lookup(scanned.transfer_syntax_uid).encapsulated:
            raise NotReleased(Reason.CONTRADICTORY)
        return _native(scanned, bulk, told)
    except NoMaskingRule:
        raise NotReleased(Reason.CODESTREAM) from None
    except DicomError:
        raise NotReleased(Reason.PIXEL_LAYOUT) from None


def _native(scanned: Scan, bulk: Element, told: Described) -> list[Buffer]:
    facts, stored = told.facts, told.stored
    due = -(-facts.frame_bits * facts.frames // 8)
    if not due or not due <= bulk.length <= due + (due & 1):
        raise NotReleased(Reason.PIXEL_LAYOUT)
    view = memoryview(scanned.data)
    head, value = view[bulk.start : bulk.value], view[bulk.value : bulk.end]
    if facts.bits_allocated in (8, 16) and stored and bulk.tag == 0x7FE00010:
        if (
            not 1 <= stored <= facts.bits_allocated
            or told.high != stored - 1
            or (stored < 8 < facts.bits_allocated)
        ):
            raise NotReleased(Reason.PIXEL_LAYOUT)
        if stored < facts.bits_allocated:
            little = scanned.encoding is not Encoding.EXPLICIT_BE
            value = _clear(value, facts.bits_allocated, stored, told.signed, little)
    if bulk.length > due and value[due]:
        value = memoryview(bytes(value[:due]) + b"\0")
    return [head, value]


def _clear(value: memoryview, allocated: int, stored: int, signed: bool, little: bool) -> memoryview:
    """Bits beyond those stored, cleared where they hold neither nothing nor the sign (rule 5)."""
    lane = slice(1 if little else 0, None, 2) if allocated == 16 else slice(None)
    good, table = _lane(stored % 8, signed and stored % 8 > 0)
    pieces = range(0, len(value), _PIECE)  # such as stay in the processor's cache
    if not any(bytes(value[at : at + _PIECE])[lane].translate(None, good) for at in pieces):
        return value
    raw = bytes(value)
    cleared = bytearray(raw)
    cleared[lane] = raw[lane].translate(table)
    return memoryview(bytes(cleared))


@lru_cache(maxsize=32)
def _lane(bits: int, signed: bool) -> tuple[bytes, bytes]:
    """For a byte of which the low `bits` count: its sound values, and what each value becomes."""
    mask = (1 << bits) - 1
    low = [value & mask for value in range(256)]
    if signed:
        low = [value | (0xFF ^ mask) if value >> (bits - 1) & 1 else value for value in low]
        good = bytes(value for value in range(256) if value == low[value] or value == value & mask)
        return good, bytes(low)
    return bytes(value for value in range(256) if value == low[value]), bytes(low)


def _compressed(scanned: Scan, bulk: Element, facts: PixelFacts) -> list[Buffer]:
    view = memoryview(scanned.data)
    element = PixelElement(bulk.tag, bulk.vr, bulk.value - bulk.start, UNDEFINED, little=True)
    index = FrameIndex(facts, element, bulk.end - bulk.start)

    def read(offset: int, length: int) -> bytes:
        return bytes(view[bulk.start + offset : min(bulk.start + offset + length, bulk.end)])

    frames = [index.frame(number, read) for number in range(1, facts.frames + 1)]
    position = frames[0].spans[0].offset - _ITEM_BYTES
    table_bytes = position - _ITEM_BYTES - element.value
    if table_bytes not in (0, 4 * facts.frames) or (table_bytes and facts.offsets):
        raise NotReleased(Reason.PIXEL_LAYOUT)
    parts: list[Buffer] = [
        element_header(bulk.tag, bulk.vr, UNDEFINED, bulk.encoding),
        read(element.value, position - element.value),
    ]
    for frame in frames:
        raw = b"".join(read(span.offset, span.length) for span in frame.spans)
        shown = blank_text(raw, scanned.transfer_syntax_uid)
        at = 0
        for span in frame.spans:
            if span.offset != position + _ITEM_BYTES:
                raise NotReleased(Reason.PIXEL_LAYOUT)
            parts += [pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, span.length), shown[at : at + span.length]]
            at += span.length
            position += _ITEM_BYTES + span.length
    parts.append(pack("<HHI", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0))
    return parts


def _number(scanned: Scan, tag: int) -> int:
    element = scanned.find(tag)
    if element is None or element.length != 2:
        return 0
    return int(numbers(scanned.value(element), "US", little=element.encoding is not Encoding.EXPLICIT_BE)[0])
