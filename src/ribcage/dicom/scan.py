"""The scanner: walks element headers, keeps byte spans, builds no values and never touches pixels.

Rules, in order:
1. Every length is checked against its container before it is used (PS3.5 7.1); bytes of values are not read.
2. Sequences are walked at once, so that depth and number of elements are bounded when `scan` returns; an
   undefined length ends at its delimitation item (PS3.5 7.5). UN of undefined length is a sequence in
   Implicit VR Little Endian (PS3.5 6.2.2 note 4). UN of defined length is opaque.
3. An explicit VR is two upper-case letters; one that PS3.5 does not define has a 32-bit length (PS3.5 6.2).
4. A deflated data set is inflated within bytes and ratio, then scanned (PS3.5 A.5); offsets are in `Scan.data`.
5. The bulk stream begins at the first top-level (7FE0,0008), (7FE0,0009) or (7FE0,0010).
6. Tolerated and noted: odd lengths, tags out of order or twice, unknown VRs, an implicit sequence by the table
   whose value holds no item (then UN), less than 8 or all-zero bytes at the end, a gzip trailer behind deflate.
   Everything else that PS3.5 does not permit is `DataSetMalformed`; a reached limit is `DataSetLimitExceeded`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from struct import Struct
from typing import Final, NamedTuple

from ribcage.dicom.dictionary import VR_BY_TAG, vr_of
from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed
from ribcage.dicom.transfer_syntaxes import TransferSyntax, lookup

Buffer = bytes | bytearray | memoryview

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
PIXEL_DATA: Final = 0x7FE00010
BULK_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
_FIRST_DELIMITER: Final = 0xFFFE0000

_ITEM_LE: Final = b"\xfe\xff\x00\xe0"

SHORT_VRS: Final = {
    vr.encode(): vr
    for vr in [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
}
LONG_VRS: Final = {
    vr.encode(): vr for vr in ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]
}
FRAGMENT_VRS: Final = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "ox"})


class Encoding(Enum):
    """How element headers are written (PS3.5 7.1)."""

    IMPLICIT_LE = "implicit little endian"
    EXPLICIT_LE = "explicit little endian"
    EXPLICIT_BE = "explicit big endian"


_LITTLE_HEAD: Final = Struct("<HH2sH").unpack_from
_BIG_HEAD: Final = Struct(">HH2sH").unpack_from
WIDE_HEAD: Final = {  # tag and 32-bit length: implicit elements and all items
    Encoding.IMPLICIT_LE: Struct("<HHI"),
    Encoding.EXPLICIT_LE: Struct("<HHI"),
    Encoding.EXPLICIT_BE: Struct(">HHI"),
}
_IMPLICIT_HEAD: Final = Struct("<HHI").unpack_from
_LENGTH_32: Final = {Encoding.EXPLICIT_LE: Struct("<I"), Encoding.EXPLICIT_BE: Struct(">I")}


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """Bounds of one data set. The defaults admit every film and a 20,000-frame enhanced multi-frame object."""

    max_data_set_bytes: int = 4 * 1024**3
    max_inflated_bytes: int = 512 * 1024**2
    max_inflation_ratio: int = 200  # honoured above 1 MiB; deflate itself cannot exceed 1,032
    max_depth: int = 32
    max_elements: int = 1_000_000
    max_fragments: int = 1_000_000


_MAX_DEFLATE_TRAILER_BYTES: Final = (
    9  # CRC-32 and length as in gzip, which some writers leave, and a pad byte
)
DEFAULT_LIMITS: Final = ScanLimits()


class Element(NamedTuple):
    """One element as offsets in `Scan.data`. `length` is as declared, `UNDEFINED` included; `end` is after the
    delimitation item. `encoding` is that of this element's header."""

    tag: int
    vr: str
    start: int
    value: int
    length: int
    end: int
    encoding: Encoding

    @property
    def value_end(self) -> int:
        """Offset after the value, before a delimitation item."""
        return self.value + self.length if self.length != UNDEFINED else self.end - 8


class Item(NamedTuple):
    """One sequence item as offsets in `Scan.data`; `end` is after its delimitation item."""

    start: int
    value: int
    length: int
    end: int
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """A scanned data set. `data` is what offsets refer to: the given bytes, or the inflated ones.

    `header_end` is an offset in the bytes given to `scan`: where the bulk stream begins, or their length when
    there is none or the data set is deflated (then all of it is header stream). `elements_end` is where the
    last element ends in `data`.
    """

    data: Buffer
    transfer_syntax_uid: str
    encoding: Encoding
    deflated: bool
    start: int
    elements: tuple[Element, ...]
    bulk: Element | None
    header_end: int
    elements_end: int
    notes: frozenset[str]
    nested: dict[int, tuple[Item, ...]]
    by_tag: dict[int, Element] = field(default_factory=dict, repr=False, compare=False)  # filled by `find`

    def items(self, element: Element) -> tuple[Item, ...]:
        """The items of a sequence element, () for everything else."""
        return self.nested.get(element.start, ())

    def find(self, tag: int) -> Element | None:
        """The last top-level element with this tag, None when absent."""
        if not self.by_tag:
            self.by_tag.update((element.tag, element) for element in self.elements)
        return self.by_tag.get(tag)

    def value(self, element: Element) -> bytes:
        """The raw value bytes (a copy); of a sequence the items."""
        return bytes(self.data[element.value : element.value_end])

    def walk(self) -> Iterator[Element]:
        """Every element at every level, in the order of the bytes."""
        pending = list(reversed(self.elements))
        while pending:
            element = pending.pop()
            yield element
            for item in reversed(self.items(element)):
                pending.extend(reversed(item.elements))


def scan(data: Buffer, transfer_syntax_uid: str, limits: ScanLimits = DEFAULT_LIMITS, start: int = 0) -> Scan:
    """Scan the data set that fills `data` from byte `start` to its end.

    Raises UnsupportedTransferSyntax, DataSetMalformed (PS3.5 7), DataSetLimitExceeded.
    """
    syntax = lookup(transfer_syntax_uid)
    if len(data) - start > limits.max_data_set_bytes:
        raise DataSetLimitExceeded(
            f"expected a data set of at most {limits.max_data_set_bytes} bytes, got {len(data) - start}"
        )
    body: Buffer = data
    body_start = start
    if syntax.deflated:
        body, body_start = inflate(data, limits, start), 0
    encoding = encoding_of(syntax)
    walker = Walker(body, limits)
    elements, end = walker.walk(body_start, len(body), encoding, 0, delimited=False)
    bulk = walker.bulk
    header_end = len(data) if bulk is None or syntax.deflated else bulk.start
    return Scan(
        data=body,
        transfer_syntax_uid=transfer_syntax_uid,
        encoding=encoding,
        deflated=syntax.deflated,
        start=body_start,
        elements=tuple(elements),
        bulk=bulk,
        header_end=header_end,
        elements_end=end,
        notes=frozenset(walker.notes),
        nested=walker.nested,
    )


def encoding_of(syntax: TransferSyntax) -> Encoding:
    """How this transfer syntax writes element headers."""
    if syntax.implicit:
        return Encoding.IMPLICIT_LE
    return Encoding.EXPLICIT_LE if syntax.little else Encoding.EXPLICIT_BE


def inflate(data: Buffer, limits: ScanLimits = DEFAULT_LIMITS, start: int = 0) -> bytes:
    """Inflate a raw deflate stream (RFC 1951, PS3.5 A.5) within bytes and ratio.

    Raises DataSetLimitExceeded; DataSetMalformed for a damaged or cut stream or foreign bytes behind it.
    """
    source = memoryview(data)[start:]
    allowed = min(limits.max_inflated_bytes, max(1024**2, len(source) * limits.max_inflation_ratio))
    engine = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        inflated = engine.decompress(source, allowed + 1)
    except zlib.error:
        raise DataSetMalformed("expected a deflate stream (RFC 1951), got damaged bytes", start) from None
    if len(inflated) > allowed:
        raise DataSetLimitExceeded(f"expected at most {allowed} inflated bytes, got more")
    if not engine.eof:
        raise DataSetMalformed("expected a complete deflate stream, got a cut one", len(data))
    if len(engine.unused_data) > _MAX_DEFLATE_TRAILER_BYTES:
        raise DataSetMalformed("expected the end behind the deflate stream, got more bytes", len(data))
    return inflated


class Walker:
    """One pass over one data set. Holds what accumulates: notes, nested items, counts."""

    def __init__(self, data: Buffer, limits: ScanLimits, *, to_bulk: bool = False) -> None:
        """`to_bulk`: stop at the header of the bulk element, whose value need not be there."""
        self.data = data
        self.limits = limits
        self.to_bulk = to_bulk
        self.notes: set[str] = set()
        self.nested: dict[int, tuple[Item, ...]] = {}
        self.bulk: Element | None = None
        self.elements = 0
        self.fragments = 0

    def walk(
        self, position: int, end: int, encoding: Encoding, depth: int, *, delimited: bool, last: int = -1
    ) -> tuple[list[Element], int]:
        """Elements from `position` to `end`, or to the item delimiter when `delimited`; and where they ended.

        `last`: the tag before them.
        """
        if depth > self.limits.max_depth:
            raise DataSetLimitExceeded(f"expected at most {self.limits.max_depth} nested sequences, got more")
        found: list[Element] = []
        room = self.limits.max_elements - self.elements
        step = self._implicit if encoding is Encoding.IMPLICIT_LE else self._explicit
        while position < end:
            if end - position < 8:
                if depth == 0 and not delimited:
                    self.notes.add("trailing_bytes")
                    break
                raise DataSetMalformed(
                    f"expected an element header of 8 bytes, got {end - position}", position
                )
            tag, vr, value, length = step(position, end, encoding)
            if tag <= last:
                if tag == 0 and depth == 0:
                    self._padding(position, end)
                    break
                self.notes.add("duplicate_tag" if tag == last else "unordered_tags")
            if tag >= _FIRST_DELIMITER and tag >> 16 == 0xFFFE:
                if tag == ITEM_END and delimited and length == 0:
                    position = value
                    break
                raise DataSetMalformed("expected an element, got a misplaced item or delimiter", position)
            stop = value + length
            if self.to_bulk and depth == 0 and tag in BULK_TAGS:
                self.bulk = Element(tag, vr, position, value, length, value, encoding)
                break
            if length == UNDEFINED or vr == "SQ":
                stop = self._sequence(vr, position, value, length, end, encoding, depth)
            elif stop > end:
                raise DataSetMalformed(
                    f"expected a value within its container, got {length} bytes of {end - value}", position
                )
            if length & 1 and length != UNDEFINED:
                self.notes.add("odd_length")
            element = Element(tag, vr, position, value, length, stop, encoding)
            found.append(element)
            if len(found) > room:
                raise DataSetLimitExceeded(f"expected at most {self.limits.max_elements} elements, got more")
            if depth == 0 and tag in BULK_TAGS and self.bulk is None:
                self.bulk = element
            last = tag
            position = stop
        else:
            if delimited:
                raise DataSetMalformed("expected an item delimiter, got the end of the container", end)
        self.elements += len(found)
        return found, position

    def _padding(self, position: int, end: int) -> None:
        """All-zero bytes behind the last element are noted; anything else there is refused."""
        if bytes(self.data[position:end]).strip(b"\0"):
            raise DataSetMalformed(
                "expected the end of the data set, got bytes that are no element", position
            )
        self.notes.add("trailing_bytes")

    def _explicit(self, position: int, end: int, encoding: Encoding) -> tuple[int, str, int, int]:
        """Tag, VR, value offset and length of an explicit element header (PS3.5 7.1.2)."""
        head = _LITTLE_HEAD if encoding is Encoding.EXPLICIT_LE else _BIG_HEAD
        group, number, raw_vr, length = head(self.data, position)
        tag = group << 16 | number
        vr = SHORT_VRS.get(raw_vr)
        if vr is not None:
            return tag, vr, position + 8, length
        if tag >= _FIRST_DELIMITER and group == 0xFFFE:
            return tag, "", position + 8, WIDE_HEAD[encoding].unpack_from(self.data, position)[2]
        if tag == 0 and raw_vr == b"\0\0":
            return 0, "UN", position + 8, 0
        vr = LONG_VRS.get(raw_vr)
        if vr is None:
            if not (raw_vr.isalpha() and raw_vr.isupper()):
                raise DataSetMalformed("expected a VR of two upper-case letters, got other bytes", position)
            self.notes.add("unknown_vr")
            vr = "UN"
        if end - position < 12:
            raise DataSetMalformed(f"expected an element header of 12 bytes, got {end - position}", position)
        return tag, vr, position + 12, _LENGTH_32[encoding].unpack_from(self.data, position + 8)[0]

    def _implicit(self, position: int, end: int, encoding: Encoding) -> tuple[int, str, int, int]:
        """Tag, VR by table, value offset and length of an implicit element header (PS3.5 7.1.3)."""
        group, number, length = _IMPLICIT_HEAD(self.data, position)
        tag = group << 16 | number
        value = position + 8
        vr = VR_BY_TAG.get(tag) or vr_of(tag)
        if vr == "SQ" and length != UNDEFINED and length and self.data[value : value + 4] != _ITEM_LE:
            self.notes.add("opaque_sequence")
            vr = "UN"
        return tag, vr, value, length

    def _sequence(
        self,
        vr: str,
        start: int,
        value: int,
        length: int,
        end: int,
        encoding: Encoding,
        depth: int,
    ) -> int:
        """Walk the items of one sequence, or the fragments of encapsulated pixels; returns where it ends."""
        if vr == "SQ" or vr == "UN":
            inner = Encoding.IMPLICIT_LE if vr == "UN" else encoding
            return self._items(start, value, length, end, inner, depth)
        if vr not in FRAGMENT_VRS:
            raise DataSetMalformed("expected a defined length for this VR, got an undefined one", start)
        return self._fragments(value, end, encoding)

    def _items(self, start: int, value: int, length: int, end: int, encoding: Encoding, depth: int) -> int:
        """Walk the items of a sequence (PS3.5 7.5) and keep them under the element's start offset."""
        if length != UNDEFINED:
            if length > end - value:
                raise DataSetMalformed(
                    f"expected a sequence within its container, got {length} bytes of {end - value}", start
                )
            end = value + length
        items: list[Item] = []
        head = WIDE_HEAD[encoding].unpack_from
        position = value
        while position < end or length == UNDEFINED:
            if end - position < 8:
                raise DataSetMalformed(f"expected an item header of 8 bytes, got {end - position}", position)
            group, number, item_length = head(self.data, position)
            tag = group << 16 | number
            body = position + 8
            if tag == SEQUENCE_END and item_length == 0 and (length == UNDEFINED or body == end):
                position = body
                break
            if tag != ITEM:
                raise DataSetMalformed("expected a sequence item, got another tag", position)
            if item_length == UNDEFINED:
                found, stop = self.walk(body, end, encoding, depth + 1, delimited=True)
            else:
                stop = body + item_length
                if stop > end:
                    raise DataSetMalformed(
                        f"expected an item within its sequence, got {item_length} bytes of {end - body}",
                        position,
                    )
                found, _ = self.walk(body, stop, encoding, depth + 1, delimited=False)
            self._count_item()
            items.append(Item(position, body, item_length, stop, tuple(found)))
            position = stop
        self.nested[start] = tuple(items)
        return position

    def _count_item(self) -> None:
        self.elements += 1
        if self.elements > self.limits.max_elements:
            raise DataSetLimitExceeded(f"expected at most {self.limits.max_elements} elements, got more")

    def _fragments(self, position: int, end: int, encoding: Encoding) -> int:
        """Step over the fragments of encapsulated pixel data (PS3.5 A.4); returns the offset behind them."""
        head = WIDE_HEAD[encoding].unpack_from
        while end - position >= 8:
            group, number, length = head(self.data, position)
            position += 8
            tag = group << 16 | number
            if tag == SEQUENCE_END and length == 0:
                return position
            if tag != ITEM or length > end - position:
                raise DataSetMalformed(
                    "expected a fragment within the data set, got another tag or length", position - 8
                )
            self.fragments += 1
            if self.fragments > self.limits.max_fragments:
                raise DataSetLimitExceeded(
                    f"expected at most {self.limits.max_fragments} fragments, got more"
                )
            position += length
        raise DataSetMalformed("expected a sequence delimiter behind the fragments, got the end", position)
