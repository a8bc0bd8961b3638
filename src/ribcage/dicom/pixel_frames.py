"""Where each frame of an instance's pixels lies in its bulk stream. Sans-IO: bytes come through `Read`.

Rules, in order:
1. The bulk stream begins with the pixel element's header; its value is native or encapsulated (PS3.5 8.2, A.4).
2. A native frame is found by arithmetic (PS3.5 8.1.1, C.7.6.3.1). One-bit frames follow each other without padding,
   so a frame may begin inside a byte. YBR_FULL_422 has two samples for each pixel.
3. Encapsulated: the Extended Offset Table (PS3.3 C.7.6.3.1.8), else a filled Basic Offset Table (PS3.5 A.4), says
   where frames begin; only the fragments of the asked frame are then read. Without a table the fragments are
   walked once: as many as frames, or one frame, leave no doubt; else a frame begins where a codestream begins.
4. A table that points outside, not at an item, or has another count than frames is `DataSetMalformed`, as are
   fragments that cannot be told apart: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct, unpack_from
from typing import Final, NamedTuple

from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed
from ribcage.dicom.rewrite import swap_words
from ribcage.dicom.scan import BULK_TAGS, ITEM, LONG_VRS, SEQUENCE_END, UNDEFINED, Scan
from ribcage.dicom.transfer_syntaxes import lookup
from ribcage.dicom.values import integer, is_little, numbers

Read = Callable[[int, int], bytes]  # offset and length in the bulk stream; shorter at its end

FLOAT_PIXELS: Final = 0x7FE00008
_DOUBLE_PIXELS: Final = 0x7FE00009
_OFFSETS, _LENGTHS = 0x7FE00001, 0x7FE00002
_ROWS, _COLUMNS, _SAMPLES, _BITS, _FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280100, 0x00280008
_PHOTOMETRIC, _PLANAR = 0x00280004, 0x00280006
PIXEL_FACTS: Final = frozenset(
    {_ROWS, _COLUMNS, _SAMPLES, _BITS, _FRAMES, _PHOTOMETRIC, _PLANAR, _OFFSETS, _LENGTHS}
)  # what `pixel_facts` looks at
_ITEM_HEAD: Final = Struct("<HHI")
_ITEM_BYTES: Final = 8
_STARTS: Final = (
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"\xff\x0a",
    b"\0\0\0\x0c",
)  # JPEG, JPEG 2000, JPEG XL, boxes


class Span(NamedTuple):
    """Bytes of the bulk stream."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PixelFacts:
    """What a data set says of its pixels; `offsets` and `lengths` are its Extended Offset Table, raw."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    frames: int
    photometric_interpretation: str
    planar_configuration: int
    offsets: bytes = b""
    lengths: bytes = b""

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame (rule 2)."""
        samples = 2 if self.photometric_interpretation == "YBR_FULL_422" else self.samples_per_pixel
        return self.rows * self.columns * samples * self.bits_allocated


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The header of the pixel element: `value` is where its value begins, `length` as declared."""

    tag: int
    vr: str
    value: int
    length: int
    little: bool

    @property
    def encapsulated(self) -> bool:
        """Whether its value is fragments."""
        return self.length == UNDEFINED


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its spans in order; of a one-bit frame `skip_bits` at the start of the first byte are another's."""

    spans: tuple[Span, ...]
    bits: int = 0  # of a native frame
    skip_bits: int = 0

    @property
    def length(self) -> int:
        """Bytes of all spans."""
        return sum(span.length for span in self.spans)


def pixel_facts(scan: Scan) -> PixelFacts:
    """The facts of a scanned data set or header stream; numbers that are missing are 0, frames at least 1."""

    def number(tag: int) -> int:
        element = scan.find(tag)
        if element is None or element.length > 64:
            return 0
        raw = scan.value(element)
        if tag == _FRAMES:
            return max(0, integer(raw.strip(b" \0").decode("ascii", "replace")) or 0)
        found = numbers(raw, "US", little=is_little(element.encoding))
        return int(found[0]) if found else 0

    def raw(tag: int) -> bytes:
        element = scan.find(tag)
        return b"" if element is None or element.vr == "SQ" else scan.value(element)

    return PixelFacts(
        rows=number(_ROWS),
        columns=number(_COLUMNS),
        samples_per_pixel=number(_SAMPLES) or 1,
        bits_allocated=number(_BITS),
        frames=number(_FRAMES) or 1,
        photometric_interpretation=raw(_PHOTOMETRIC)[:32].rstrip(b" \0").decode("ascii", "replace"),
        planar_configuration=number(_PLANAR),
        offsets=raw(_OFFSETS),
        lengths=raw(_LENGTHS),
    )


def pixel_element(head: bytes, transfer_syntax_uid: str) -> PixelElement:
    """Read the header at the start of a bulk stream; 12 bytes are enough. Raises DataSetMalformed."""
    syntax = lookup(transfer_syntax_uid)
    order = "<" if syntax.little else ">"
    vr = b"OW"
    if len(head) < 12 and not (syntax.implicit and len(head) >= 8):
        raise DataSetMalformed("expected the pixel element at the start of the bulk stream, got its end")
    if syntax.implicit:
        group, number, length = unpack_from(order + "HHI", head)
        value = 8
    else:
        group, number, vr, _, length = unpack_from(order + "HH2sHI", head)
        value = 12
    tag = group << 16 | number
    if tag not in BULK_TAGS or vr not in LONG_VRS:
        raise DataSetMalformed("expected the pixel element at the start of the bulk stream, got another")
    if syntax.implicit and tag != 0x7FE00010:
        vr = b"OF" if tag == FLOAT_PIXELS else b"OD"
    return PixelElement(tag, LONG_VRS[vr], value, length, syntax.little)


class FrameIndex:
    """The frames of one instance. Methods that take `read` may block; one thread at a time."""

    def __init__(
        self, facts: PixelFacts, element: PixelElement, bulk_bytes: int, max_fragments: int = 1_000_000
    ) -> None:
        self.facts = facts
        self.element = element
        self._end = bulk_bytes
        self._max_fragments = max_fragments
        self._starts: Sequence[int] | None = None  # of each frame, relative to the first fragment's item
        self._lengths: Sequence[int] = ()
        self._first = 0
        self._walked: list[tuple[Span, ...]] | None = None

    def frame(self, number: int, read: Read) -> Frame:
        """Frame `number`, from 1. Raises DataSetMalformed; IndexError where there is no such frame."""
        if not 1 <= number <= self.facts.frames:
            raise IndexError(number)
        if not self.element.encapsulated:
            return self._native(number - 1)
        if self._first == 0:
            self._read_table(read)
        if self._starts is None:
            return Frame(self._walk(read)[number - 1])
        return Frame(self._by_table(number - 1, read))

    def fragments(self, read: Read) -> tuple[Span, ...]:
        """Every fragment in order: the whole value without its table. Raises DataSetMalformed."""
        if self._first == 0:
            self._read_table(read)
        return tuple(span for span, _ in self._items(self._first, None, read))

    # --- native -----------------------------------------------------------------------------------------

    def _native(self, index: int) -> Frame:
        bits = self.facts.frame_bits
        if not bits:
            raise DataSetMalformed(
                "expected rows, columns and bits of a picture, got a data set without them"
            )
        first, skip = divmod(index * bits, 8)
        last = -(-((index + 1) * bits) // 8)
        length = min(self.element.length, self._end - self.element.value)
        if last > length:
            raise DataSetMalformed(f"expected {last} bytes of pixels, got {length}: the frame is not there")
        return Frame((Span(self.element.value + first, last - first),), bits, skip)

    # --- encapsulated -----------------------------------------------------------------------------------

    def _read_table(self, read: Read) -> None:
        """The first item, which is the Basic Offset Table, and the table that counts (rule 3)."""
        length = self._item(self.element.value, read)
        start = self.element.value + _ITEM_BYTES
        frames, first = self.facts.frames, start + length
        if self.facts.offsets:
            self._starts = self._numbers(self.facts.offsets, "Q")
            self._lengths = self._numbers(self.facts.lengths, "Q") if self.facts.lengths else ()
        elif length:
            if length > 4 * self._max_fragments:
                raise DataSetLimitExceeded(f"expected a table of at most {self._max_fragments} frames")
            self._starts = self._numbers(read(start, length), "I")
        if self._starts is not None and len(self._starts) != frames:
            raise DataSetMalformed(f"expected an offset table of {frames} frames, got {len(self._starts)}")
        self._first = first

    @staticmethod
    def _numbers(raw: bytes, code: str) -> Sequence[int]:
        size = 8 if code == "Q" else 4
        if len(raw) % size:
            raise DataSetMalformed(f"expected offsets of {size} bytes, got {len(raw)} bytes")
        return unpack_from(f"<{len(raw) // size}{code}", raw)

    def _by_table(self, index: int, read: Read) -> tuple[Span, ...]:
        starts = self._starts or ()
        begin = self._first + starts[index]
        if self._lengths and len(self._lengths) != len(starts):
            raise DataSetMalformed("expected as many lengths as offsets of frames, got another count")
        if self._lengths:
            length = self._item(begin, read)
            if not 0 < self._lengths[index] <= length:
                raise DataSetMalformed("expected the frame within its fragment, got a longer one")
            return (Span(begin + _ITEM_BYTES, length),)
        stop = self._first + starts[index + 1] if index + 1 < len(starts) else None
        if stop is not None and stop <= begin:
            raise DataSetMalformed("expected ascending offsets of frames, got others")
        spans = tuple(span for span, _ in self._items(begin, stop, read))
        if not spans:
            raise DataSetMalformed("expected fragments of the frame, got none")
        return spans

    def _walk(self, read: Read) -> list[tuple[Span, ...]]:
        """Frames without a table (rule 3)."""
        if self._walked is None:
            found = self._items(self._first, None, read)
            frames = self.facts.frames
            if len(found) == frames:
                self._walked = [(span,) for span, _ in found]
            elif frames == 1 and found:
                self._walked = [tuple(span for span, _ in found)]
            else:
                self._walked = self._by_start(found, frames)
        return self._walked

    @staticmethod
    def _by_start(found: list[tuple[Span, bytes]], frames: int) -> list[tuple[Span, ...]]:
        grouped: list[list[Span]] = []
        for span, head in found:
            if head.startswith(_STARTS):
                grouped.append([span])
            elif grouped:
                grouped[-1].append(span)
        if len(grouped) != frames:
            raise DataSetMalformed(
                f"expected an offset table or one fragment a frame, got {len(found)} fragments of {frames} frames"
            )
        return [tuple(spans) for spans in grouped]

    def _items(self, position: int, stop: int | None, read: Read) -> list[tuple[Span, bytes]]:
        """Fragments from `position` to `stop` or the delimiter, each with its first bytes."""
        found: list[tuple[Span, bytes]] = []
        while stop is None or position < stop:
            head = read(position, _ITEM_BYTES + 4)
            if len(head) < _ITEM_BYTES:
                raise DataSetMalformed("expected a delimiter behind the fragments, got the end", position)
            group, number, length = _ITEM_HEAD.unpack_from(head)
            tag = group << 16 | number
            if tag == SEQUENCE_END and length == 0 and stop is None:
                return found
            self._check(tag, length, position)
            found.append((Span(position + _ITEM_BYTES, length), head[_ITEM_BYTES:]))
            if len(found) > self._max_fragments:
                raise DataSetLimitExceeded(f"expected at most {self._max_fragments} fragments, got more")
            position += _ITEM_BYTES + length
        if position != stop:
            raise DataSetMalformed(
                "expected a frame to end where the next begins, got another offset", position
            )
        return found

    def _item(self, position: int, read: Read) -> int:
        """The length of the item at `position`."""
        head = read(position, _ITEM_BYTES) if position < self._end else b""
        if len(head) < _ITEM_BYTES:
            raise DataSetMalformed("expected an item of pixel data, got an offset outside of it", position)
        group, number, length = _ITEM_HEAD.unpack_from(head)
        self._check(group << 16 | number, length, position)
        return int(length)

    def _check(self, tag: int, length: int, position: int) -> None:
        if tag != ITEM or length > self._end - position - _ITEM_BYTES:
            raise DataSetMalformed("expected a fragment of pixel data, got another tag or length", position)


def native_frame(raw: bytes, frame: Frame, element: PixelElement) -> bytes:
    """A native frame as Explicit VR Little Endian has it, its first pixel at its first bit (PS3.5 8.1.1)."""
    if not element.little:
        if (frame.spans[0].offset - element.value) % 2 or len(raw) % 2:
            raise DataSetMalformed("expected frames of whole words in big endian pixels, got half a word")
        raw = swap_words(raw, element.vr)
    if frame.bits % 8 or frame.skip_bits:
        value = int.from_bytes(raw, "little") >> frame.skip_bits & (1 << frame.bits) - 1
        return value.to_bytes(-(-frame.bits // 8), "little")
    return raw
