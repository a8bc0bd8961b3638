"""Where frames lie: tables good and malformed, fragments without a table, one-bit frames, bounded work."""

from __future__ import annotations

from dataclasses import replace
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed, DicomError
from ribcage.dicom.pixel_frames import Frame, FrameIndex, PixelFacts, Span, native_frame, pixel_element

JPEG = "1.2.840.10008.1.2.4.50"
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
FACTS = PixelFacts(2, 2, 1, 8, 3, "MONOCHROME2", 0)
HEAD = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + pack("<I", len(value)) + value


def index_of(bulk: bytes, facts: PixelFacts = FACTS, syntax: str = JPEG, most: int = 100) -> FrameIndex:
    return FrameIndex(facts, pixel_element(bulk[:12], syntax), len(bulk), most)


def frames_of(bulk: bytes, facts: PixelFacts = FACTS, **more: object) -> list[bytes]:
    index = index_of(bulk, facts, **more)

    def read(offset: int, length: int) -> bytes:
        return bulk[offset : offset + length]

    found = [index.frame(number, read) for number in range(1, facts.frames + 1)]
    return [
        b"".join(bulk[span.offset : span.offset + span.length] for span in frame.spans) for frame in found
    ]


# Three frames of one, two and one fragments.
FRAGMENTS = (b"\xff\xd8\xff1", b"\xff\xd8\xff22222", b"33", b"\xff\xd8\xff444")
BODY = b"".join(map(item, FRAGMENTS))
FRAMES = [FRAGMENTS[0], FRAGMENTS[1] + FRAGMENTS[2], FRAGMENTS[3]]
STARTS = (0, 12, 38)


def test_frames_by_a_basic_offset_table() -> None:
    assert frames_of(HEAD + item(pack("<3I", *STARTS)) + BODY + END) == FRAMES


def test_only_the_fragments_of_the_asked_frame_are_read() -> None:
    bulk = HEAD + item(pack("<3I", *STARTS)) + BODY + END
    asked: list[int] = []

    def read(offset: int, length: int) -> bytes:
        asked.append(offset)
        return bulk[offset : offset + length]

    index_of(bulk).frame(2, read)
    first = len(HEAD) + 8 + 12
    assert {offset for offset in asked if offset >= first} == {first + 12, first + 12 + 16}


def test_frames_without_a_table_begin_where_a_codestream_begins() -> None:
    assert frames_of(HEAD + item(b"") + BODY + END) == FRAMES


def test_as_many_fragments_as_frames_and_one_frame_of_many_leave_no_doubt() -> None:
    body = b"".join(map(item, (b"aa", b"bb", b"cc")))
    assert frames_of(HEAD + item(b"") + body + END) == [b"aa", b"bb", b"cc"]
    assert frames_of(HEAD + item(b"") + body + END, replace(FACTS, frames=1)) == [b"aabbcc"]


def test_the_extended_table_prevails() -> None:
    body = b"".join(map(item, (b"aa", b"bbbb", b"cc")))
    facts = replace(FACTS, offsets=pack("<3Q", 0, 10, 22), lengths=pack("<3Q", 2, 3, 2))
    assert frames_of(HEAD + item(b"") + body + END, facts) == [b"aa", b"bbbb", b"cc"]


@pytest.mark.parametrize(
    "bulk",
    [
        HEAD + item(pack("<2I", 0, 14)) + BODY + END,  # another count than frames
        HEAD + item(pack("<3I", 0, 13, 40)) + BODY + END,  # not at an item
        HEAD + item(pack("<3I", 0, 40, 14)) + BODY + END,  # descending
        HEAD + item(pack("<3I", 0, 0, 14)) + BODY + END,
        HEAD + item(pack("<3I", 0, 14, 1 << 30)) + BODY + END,  # outside
        HEAD + item(b"\0\0\0") + BODY + END,
        HEAD + item(b"") + item(b"aa") + item(b"bb") + END,  # fewer fragments than frames
        HEAD + item(b"") + item(b"aa") * 4 + END,  # cannot be told apart
        HEAD + item(b"") + BODY,  # no delimiter
        HEAD + item(b"") + b"\xfe\xff\x00\xe0\xff\xff\xff\x7f" + bytes(8),  # longer than the stream
        HEAD + b"\xfe\xff\x00\xe0",
        HEAD,
    ],
)
def test_malformed_tables_and_fragments_are_refused(bulk: bytes) -> None:
    with pytest.raises(DataSetMalformed):
        frames_of(bulk)


def test_more_fragments_than_the_limit_are_refused() -> None:
    with pytest.raises(DataSetLimitExceeded):
        frames_of(HEAD + item(b"") + item(b"") * 101 + END)


@pytest.mark.parametrize("length", [b"", pack("<3Q", 0, 0, 0)[:9], pack("<3Q", 99, 4, 2), pack("<2Q", 2, 4)])
def test_an_extended_table_that_lies_is_refused(length: bytes) -> None:
    facts = replace(FACTS, offsets=pack("<3Q", 0, 10, 23), lengths=length)
    with pytest.raises(DataSetMalformed):
        frames_of(HEAD + item(b"") + b"".join(map(item, (b"aa", b"bbbb", b"cc"))) + END, facts)


@pytest.mark.parametrize(
    ("syntax", "head"),
    [
        (EXPLICIT, b"\xe0\x7f\x10\x00OB\0\0" + pack("<I", 12)),
        (IMPLICIT, b"\xe0\x7f\x10\x00" + pack("<I", 12)),
        (BIG, b"\x7f\xe0\x00\x10OB\0\0" + pack(">I", 12)),
    ],
)
def test_native_frames_by_arithmetic(syntax: str, head: bytes) -> None:
    bulk = head + bytes(range(12))
    assert frames_of(bulk, syntax=syntax) == [bytes(range(4)), bytes(range(4, 8)), bytes(range(8, 12))]
    with pytest.raises(DataSetMalformed):  # the fourth is announced and not there
        frames_of(bulk, replace(FACTS, frames=4), syntax=syntax)
    with pytest.raises(IndexError):
        index_of(bulk, syntax=syntax).frame(4, lambda _offset, _length: b"")


def test_pixels_of_a_picture_without_size_are_refused() -> None:
    with pytest.raises(DataSetMalformed):
        frames_of(
            b"\xe0\x7f\x10\x00OB\0\0" + pack("<I", 12) + bytes(12), replace(FACTS, rows=0), syntax=EXPLICIT
        )


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_one_bit_frames_are_cut_at_their_bit(rows: int, columns: int, data: st.DataObject) -> None:
    cells = rows * columns
    bits = data.draw(st.lists(st.booleans(), min_size=3 * cells, max_size=3 * cells))
    value = sum(bit << place for place, bit in enumerate(bits)).to_bytes(-(-3 * cells // 8), "little")
    bulk = b"\xe0\x7f\x10\x00OB\0\0" + pack("<I", len(value)) + value
    index = index_of(bulk, replace(FACTS, rows=rows, columns=columns, bits_allocated=1), EXPLICIT)
    for number in (1, 2, 3):
        frame = index.frame(number, lambda _offset, _length: b"")
        raw = b"".join(bulk[span.offset : span.offset + span.length] for span in frame.spans)
        due = bits[(number - 1) * cells : number * cells]
        shown = int.from_bytes(native_frame(raw, frame, index.element), "little")
        assert [bool(shown >> place & 1) for place in range(cells)] == due
        assert not shown >> cells


def test_big_endian_words_leave_little_endian_and_half_words_are_refused() -> None:
    element = pixel_element(b"\x7f\xe0\x00\x10OW\0\0" + pack(">I", 4), BIG)
    assert native_frame(b"\1\2\3\4", Frame((Span(12, 4),), 32), element) == b"\2\1\4\3"
    with pytest.raises(DataSetMalformed):
        native_frame(b"\2\3", Frame((Span(13, 2),), 16), element)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 5))
def test_any_bytes_give_frames_or_the_one_error(body: bytes, frames: int) -> None:
    try:
        found = frames_of(HEAD + body, replace(FACTS, frames=frames))
    except DicomError:
        return
    assert len(found) == frames
    assert sum(map(len, found)) <= len(body) * frames
