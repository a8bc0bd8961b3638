"""A data set in another uncompressed transfer syntax: implicit and explicit little endian, deflated; big endian read.

Rules, in order:
1. Values stay as they are; headers are written anew. From big endian the words of each value are swapped by its VR
   (PS3.5 7.3); OB, UN and text stay. Sequences and items keep defined or undefined lengths.
2. A VR that Implicit VR does not say comes from the table (PS3.5 A.1): OW where it may be OB or OW, US or SS by Pixel
   Representation of the item or of what encloses it, UN for private and unknown tags.
3. A value too long for a 16-bit length is UN (PS3.5 6.2.2). UN of undefined length is passed on whole: what is in it
   is Implicit VR in every syntax (PS3.5 6.2.2 note 4).
4. Group lengths are left out (PS3.5 7.2: retired, and wrong after this); so are zero bytes behind the last element.
5. The bulk stream is converted as it comes, its value never held. What follows it is held, up to `_MOST_TAIL_BYTES`.
6. Encapsulated pixels are refused here: `usage.transcode` has them decoded first.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final, Literal

from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed
from ribcage.dicom.rewrite import element_header
from ribcage.dicom.scan import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    Buffer,
    Element,
    Encoding,
    Item,
    Scan,
    ScanLimits,
    scan,
)
from ribcage.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

TARGETS: Final = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
SOURCES: Final = frozenset({*TARGETS, EXPLICIT_VR_BIG_ENDIAN})  # uncompressed
_MOST_TAIL_BYTES: Final = 16 * 1024 * 1024
_MOST_SHORT_BYTES: Final = 0xFFFF
_PIXEL_REPRESENTATION: Final = 0x00280103
_WORD_BYTES: Final = {
    **dict.fromkeys(("AT", "SS", "US", "OW"), 2),
    **dict.fromkeys(("FL", "SL", "UL", "OF", "OL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """How elements are written in a target syntax; deflated ones are explicit inside."""
    implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    return Encoding.IMPLICIT_LE if implicit else Encoding.EXPLICIT_LE


def convert(scanned: Scan, target: Encoding) -> list[Buffer]:
    """Every scanned element in `target`, as parts. A bulk element in it must be native. Raises DataSetMalformed."""
    return _Converter(scanned, target).elements(scanned.elements, signed=False)


class BulkConverter:
    """The bulk stream of a native, not deflated data set in another syntax: push its bytes, write what comes out."""

    def __init__(self, source_uid: str, target: Encoding) -> None:
        self._source_uid = source_uid
        self._implicit = source_uid == IMPLICIT_VR_LITTLE_ENDIAN
        self._big = source_uid == EXPLICIT_VR_BIG_ENDIAN
        self._target = target
        self._held = bytearray()
        self._left = -1  # bytes of the value that are due; -1: its header is
        self._word = 1

    def push(self, chunk: Buffer) -> list[Buffer]:
        """Raises DataSetMalformed, DataSetLimitExceeded."""
        out: list[Buffer] = []
        if self._left < 0:
            self._held += chunk
            size = 8 if self._implicit else 12
            if len(self._held) < size:
                return out
            out.append(self._header(bytes(self._held[:size])))
            chunk = bytes(self._held[size:])
            self._held.clear()
        if self._left:
            value = memoryview(chunk)[: self._left]
            chunk = memoryview(chunk)[len(value) :]
            self._left -= len(value)
            out += self._value(value)
        if len(chunk):
            if len(self._held) + len(chunk) > _MOST_TAIL_BYTES:
                raise DataSetLimitExceeded(f"expected at most {_MOST_TAIL_BYTES} bytes behind the pixels")
            self._held += chunk
        return [part for part in out if len(part)]

    def finish(self) -> list[Buffer]:
        """What follows the bulk element. Raises DataSetMalformed when the value was cut."""
        if self._left:
            raise DataSetMalformed("expected the whole bulk element, got a cut one")
        if not self._held:
            return []
        return convert(scan(bytes(self._held), self._source_uid), self._target)

    def _header(self, head: bytes) -> bytes:
        """The bulk element's header in the target."""
        order: Literal["big", "little"] = "big" if self._big else "little"
        tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
        vr = _by_table(tag) if self._implicit else head[4:6].decode("latin-1")
        self._left = int.from_bytes(head[-4:], order)
        if self._left == UNDEFINED or vr not in ("OB", "OW", "OF", "OD", "UN"):
            raise DataSetMalformed("expected native pixels, got other bytes")
        self._word = _WORD_BYTES.get(vr, 1) if self._big else 1
        return element_header(tag, vr, self._left, self._target)

    def _value(self, value: memoryview) -> list[Buffer]:
        """Part of the value; bytes of an unfinished word wait in `_held`."""
        if self._word == 1:
            return [value]
        data = bytes(self._held) + bytes(value)
        whole = len(data) - len(data) % self._word if self._left else len(data)
        self._held[:] = data[whole:]
        return [_swapped(data[:whole], self._word)]


class Deflater:
    """Raw deflate as bytes come, padded to even length (RFC 1951, PS3.5 A.5)."""

    def __init__(self) -> None:
        self._engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._odd = 0

    def push(self, chunk: Buffer) -> bytes:
        """What is ready, maybe nothing."""
        return self._count(self._engine.compress(chunk))

    def finish(self) -> bytes:
        """The rest."""
        rest = self._count(self._engine.flush())
        return rest + b"\0" * self._odd

    def _count(self, out: bytes) -> bytes:
        self._odd ^= len(out) & 1
        return out


def convert_whole(data: Buffer, source_uid: str, target_uid: str, limits: ScanLimits | None = None) -> bytes:
    """A small data set held whole, for tests and identifiers. Raises DicomError."""
    scanned = scan(data, source_uid, limits or ScanLimits())
    parts = convert(scanned, encoding_of(target_uid))
    if target_uid != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        return b"".join(parts)
    deflater = Deflater()
    return b"".join([*(deflater.push(part) for part in parts), deflater.finish()])


class _Converter:
    """Walks the elements of one scan."""

    def __init__(self, scanned: Scan, target: Encoding) -> None:
        self._scan = scanned
        self._view = memoryview(scanned.data)
        self._target = target

    def elements(self, elements: Sequence[Element], *, signed: bool) -> list[Buffer]:
        """The elements of the data set or of one item (rules 2 and 4)."""
        for element in elements:
            if element.tag == _PIXEL_REPRESENTATION and element.length == 2:
                signed = any(self._view[element.value : element.value + 2])
        parts: list[Buffer] = []
        for element in elements:
            if element.tag & 0xFFFF:
                parts += self._element(element, signed=signed)
        return parts

    def _element(self, element: Element, *, signed: bool) -> list[Buffer]:
        if element.vr == "UN" and element.length == UNDEFINED:  # rule 3
            head = element_header(element.tag, "UN", UNDEFINED, self._target)
            return [head, self._view[element.value : element.end - 8], _delimiter(SEQUENCE_END)]
        if element.start in self._scan.nested or element.vr == "SQ":
            return self._sequence(element, signed=signed)
        if element.length == UNDEFINED:
            raise DataSetMalformed("expected native pixels, got fragments", element.start)
        value: Buffer = self._view[element.value : element.end]
        vr = _decided(element, signed=signed)
        if element.encoding is Encoding.EXPLICIT_BE and vr in _WORD_BYTES:
            value = _swapped(bytes(value), _WORD_BYTES[vr])
        if vr.encode() in SHORT_VRS and element.length > _MOST_SHORT_BYTES:
            vr = "UN"
        return [element_header(element.tag, vr, element.length, self._target), value]

    def _sequence(self, element: Element, *, signed: bool) -> list[Buffer]:
        body: list[Buffer] = []
        for item in self._scan.items(element):
            body += self._item(item, signed=signed)
        undefined = element.length == UNDEFINED
        length = UNDEFINED if undefined else sum(len(part) for part in body)
        closing = [_delimiter(SEQUENCE_END)] if undefined else []
        return [element_header(element.tag, "SQ", length, self._target), *body, *closing]

    def _item(self, item: Item, *, signed: bool) -> list[Buffer]:
        body = self.elements(item.elements, signed=signed)
        undefined = item.length == UNDEFINED
        length = UNDEFINED if undefined else sum(len(part) for part in body)
        return [_delimiter(ITEM, length), *body, *([_delimiter(ITEM_END)] if undefined else [])]


def _delimiter(tag: int, length: int = 0) -> bytes:
    return element_header(tag, "", length, Encoding.IMPLICIT_LE)


def _decided(element: Element, *, signed: bool) -> str:
    """The VR to write (rule 2)."""
    if element.vr == "xs":
        return "SS" if signed else "US"
    return "OW" if element.vr in ("ox", "lt") else element.vr


def _by_table(tag: int) -> str:
    return {0x7FE00008: "OF", 0x7FE00009: "OD"}.get(tag, "OW")


def _swapped(raw: bytes, word: int) -> bytes:
    """Each whole word in the other byte order; an incomplete last one stays."""
    whole = len(raw) - len(raw) % word
    swapped = bytearray(raw)
    for place in range(word):
        swapped[place:whole:word] = raw[word - 1 - place : whole : word]
    return bytes(swapped)
