"""The splice: remove, replace and insert elements of a scanned data set without decoding the rest.

Rules, in order:
1. Untouched spans are handed on as views of the original bytes; the transfer syntax stays the same.
2. A changed item or sequence of defined length gets its new length; one of undefined length keeps its delimiters
   (PS3.5 7.5).
3. A replaced or inserted value is padded to even length by its VR (PS3.5 6.2, 7.1.1).
4. Inserted elements go where their tag belongs in ascending order (PS3.5 7.1).
5. Group lengths are not recomputed: whoever changes a group removes (gggg,0000).
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from types import MappingProxyType
from typing import Final

from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.scan import (
    ITEM,
    ITEM_END,
    SHORT_VRS,
    UNDEFINED,
    Buffer,
    Element,
    Encoding,
    Item,
    Scan,
)

_SPACE_PADDED: Final = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"}
)
TOP: Final = -1  # the data set itself, as a key of `inserts`


@dataclass(frozen=True, slots=True)
class NewElement:
    """An element to insert; `value` as encoded bytes in the data set's byte order, unpadded."""

    tag: int
    vr: str
    value: bytes


_NONE: Final[Mapping[int, Sequence[NewElement]]] = MappingProxyType({})


def rewrite(
    scan: Scan,
    edits: Mapping[int, bytes | None],
    inserts: Mapping[int, Sequence[NewElement]] = _NONE,
    stop: int | None = None,
) -> list[Buffer]:
    """The data set's bytes with edits applied, as parts to be joined or sent one after the other.

    `edits` maps an element's start offset to its new value, or None to remove it; a sequence can be removed or
    replaced by b"". `inserts` maps an item's start offset, or `TOP`, to new elements. `stop` ends the output
    before the top-level element that starts there (the bulk element); by default everything is kept.
    Offsets are those of `Scan.data`. A deflated data set is deflated again. Raises DataSetMalformed when a
    value does not fit its VR's length field or a sequence is given content.
    """
    touched = sorted([*edits, *(start for start in inserts if start != TOP)])
    splice = _Splice(scan, edits, inserts, touched)
    elements = scan.elements
    end = len(scan.data)
    if stop is not None:
        elements = tuple(element for element in elements if element.start < stop)
        end = stop
    splice.container(scan.start, end, elements, inserts.get(TOP, ()), scan.encoding)
    parts = splice.finish()
    return deflate(parts) if scan.deflated else parts


def deflate(parts: Iterable[Buffer]) -> list[Buffer]:
    """Raw deflate (RFC 1951), padded to even length (PS3.5 A.5)."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = b"".join([*(engine.compress(part) for part in parts), engine.flush()])
    return [deflated + b"\0" * (len(deflated) & 1)]


def encode_element(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes:
    """One element, value padded (PS3.5 7.1). Raises DataSetMalformed when a 16-bit length does not hold it."""
    if len(value) & 1:
        value += b" " if vr in _SPACE_PADDED else b"\0"
    return element_header(tag, vr, len(value), encoding) + value


def encode_item(elements: bytes, encoding: Encoding) -> bytes:
    """One sequence item of defined length around encoded elements (PS3.5 7.5)."""
    return element_header(ITEM, "", len(elements), encoding) + elements


def element_header(tag: int, vr: str, length: int, encoding: Encoding) -> bytes:
    """Tag, VR ("" for items and delimiters) and length (PS3.5 7.1). Raises DataSetMalformed as `encode_element`."""
    order = ">" if encoding is Encoding.EXPLICIT_BE else "<"
    if encoding is Encoding.IMPLICIT_LE or not vr:
        return pack(order + "HHI", tag >> 16, tag & 0xFFFF, length)
    code = vr.encode("ascii")
    if code not in SHORT_VRS:
        return pack(order + "HH2sHI", tag >> 16, tag & 0xFFFF, code, 0, length)
    if length > 0xFFFF:
        raise DataSetMalformed(f"expected at most 65535 bytes for VR {vr}, got {length}")
    return pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, code, length)


class _Splice:
    """Collects parts; neighbouring untouched spans stay one view."""

    def __init__(
        self,
        scan: Scan,
        edits: Mapping[int, bytes | None],
        inserts: Mapping[int, Sequence[NewElement]],
        touched: Sequence[int],
    ) -> None:
        self._scan = scan
        self._view = memoryview(scan.data)
        self._edits = edits
        self._inserts = inserts
        self._touched = touched  # ascending start offsets of all edits and inserts below the top
        self._parts: list[Buffer] = []
        self._span = (0, 0)  # an untouched span not yet in _parts

    def finish(self) -> list[Buffer]:
        """All parts; the splice is used up."""
        self._flush()
        return self._parts

    def container(
        self,
        start: int,
        end: int,
        elements: Sequence[Element],
        new: Sequence[NewElement],
        encoding: Encoding,
    ) -> None:
        """The elements of a data set or item, from `start` to `end`; bytes behind the last element are kept."""
        waiting = sorted(new, key=lambda element: element.tag)
        position = start
        for element in elements:
            while waiting and waiting[0].tag < element.tag:
                self._new(waiting.pop(0), encoding)
            self._element(element)
            position = element.end
        for element_to_add in waiting:
            self._new(element_to_add, encoding)
        self._keep(position, end)

    def _new(self, element: NewElement, encoding: Encoding) -> None:
        self._emit(encode_element(element.tag, element.vr, element.value, encoding))

    def _element(self, element: Element) -> None:
        if element.start in self._edits:
            value = self._edits[element.start]
            if value is None:
                return
            items = self._scan.items(element)
            if value and (items or element.vr == "SQ" or element.length == UNDEFINED):
                raise DataSetMalformed("expected an empty value for a sequence, got content", element.start)
            self._emit(encode_element(element.tag, element.vr, value, element.encoding))
        elif self._is_touched(element.start, element.end):
            self._sequence(element)
        else:
            self._keep(element.start, element.end)

    def _sequence(self, element: Element) -> None:
        inner = Encoding.IMPLICIT_LE if element.vr == "UN" else element.encoding
        body = self._nested()
        for item in self._scan.items(element):
            body.item(item, inner)
        parts = body.finish()
        size = sum(len(part) for part in parts)
        if element.length == UNDEFINED:
            self._keep(element.start, element.value)
            self._emit(*parts)
            self._keep(element.end - 8, element.end)
        else:
            self._emit(element_header(element.tag, element.vr, size, element.encoding), *parts)

    def item(self, item: Item, encoding: Encoding) -> None:
        """One item with its header, changed where edits touch it."""
        if not self._is_touched(item.start, item.end):
            self._keep(item.start, item.end)
            return
        body = self._nested()
        closing = 8 if item.length == UNDEFINED else 0
        body.container(
            item.value, item.end - closing, item.elements, self._inserts.get(item.start, ()), encoding
        )
        parts = body.finish()
        length = UNDEFINED if closing else sum(len(part) for part in parts)
        self._emit(element_header(ITEM, "", length, encoding), *parts)
        if closing:
            self._emit(element_header(ITEM_END, "", 0, encoding))

    def _nested(self) -> _Splice:
        return _Splice(self._scan, self._edits, self._inserts, self._touched)

    def _is_touched(self, start: int, end: int) -> bool:
        at = bisect_left(self._touched, start)
        return at < len(self._touched) and self._touched[at] < end

    def _keep(self, start: int, end: int) -> None:
        if start >= end:
            return
        if self._span[1] == start and self._span[0] < self._span[1]:
            self._span = (self._span[0], end)
            return
        self._flush()
        self._span = (start, end)

    def _emit(self, *parts: Buffer) -> None:
        self._flush()
        self._parts.extend(part for part in parts if len(part))

    def _flush(self) -> None:
        start, end = self._span
        if start < end:
            self._parts.append(self._view[start:end])
        self._span = (0, 0)


_WORD_BYTES: Final = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def swap_words(raw: bytes, vr: str) -> bytes:
    """Binary values in the other byte order (PS3.5 7.3); OB, UN and incomplete words stay as they are."""
    size = _WORD_BYTES.get(vr, 1)
    if size == 1 or len(raw) % size:
        return raw
    swapped = bytearray(len(raw))
    for place in range(size):
        swapped[place::size] = raw[size - 1 - place :: size]
    return bytes(swapped)
