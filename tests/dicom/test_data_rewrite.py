"""The splice: what is edited changes, every other byte stays, in every encoding."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom.data_builders import (
    BIG,
    EXPLICIT,
    IMPLICIT,
    NATIVE,
    decode,
    encode,
    explicit_element,
    film,
    item,
    sequence,
    with_undefined_lengths,
)
from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.rewrite import TOP, NewElement, rewrite, swap_words
from ribcage.dicom.scan import Element, Scan, scan


def nested() -> Dataset:
    ds = film()
    ds.ReferencedImageSequence = sequence(
        item(
            ReferencedSOPInstanceUID="1.2.9",
            PurposeOfReferenceCodeSequence=sequence(
                item(CodeValue="DEEP", CodeMeaning="odd"), item(CodeValue="TWO", CodeMeaning="three")
            ),
        ),
        item(ReferencedSOPInstanceUID="1.2.10"),
    )
    return ds


def element_with(result: Scan, tag: int, number: int = 0) -> Element:
    return [element for element in result.walk() if element.tag == tag][number]


@pytest.mark.parametrize("transfer_syntax", NATIVE)
@pytest.mark.parametrize("undefined", [False, True])
def test_nested_edit_keeps_lengths_and_neighbours_right(transfer_syntax: str, undefined: bool) -> None:
    ds = nested()
    if undefined:
        with_undefined_lengths(ds)
    result = scan(encode(ds, transfer_syntax), transfer_syntax)
    edits = {
        element_with(result, 0x00080104).start: None,
        element_with(result, 0x00080104, 1).start: b"new meaning, longer than before",
        element_with(result, 0x00081155, 1).start: b"1.2.11.12",
        element_with(result, 0x00100020).start: b"OTHER",
    }
    item_start = result.items(element_with(result, 0x00081140))[1].start
    inserts = {
        TOP: (NewElement(0x00104000, "LT", b"inserted"), NewElement(0x00080001, "UL", b"\0\0\0\0")),
        item_start: (NewElement(0x00081150, "UI", b"1.2.840"),),
    }
    back = decode(b"".join(rewrite(result, edits, inserts)), transfer_syntax)
    expected = nested()
    codes = expected.ReferencedImageSequence[0].PurposeOfReferenceCodeSequence
    del codes[0].CodeMeaning
    codes[1].CodeMeaning = "new meaning, longer than before"
    expected.ReferencedImageSequence[1].ReferencedSOPInstanceUID = "1.2.11.12"
    expected.ReferencedImageSequence[1].ReferencedSOPClassUID = "1.2.840"
    expected.PatientID = "OTHER"
    expected.PatientComments = "inserted"
    expected.add_new(0x00080001, "UL", 0)
    assert back.to_json_dict() == expected.to_json_dict()
    again = scan(encode(back, transfer_syntax), transfer_syntax)
    assert [element.tag for element in again.elements] == sorted(element.tag for element in again.elements)


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG])
def test_without_edits_the_bytes_are_the_same_view(transfer_syntax: str) -> None:
    raw = encode(with_undefined_lengths(nested()), transfer_syntax)
    parts = rewrite(scan(raw, transfer_syntax), {})
    assert len(parts) == 1
    assert isinstance(parts[0], memoryview)
    assert parts[0] == raw


def test_stop_ends_before_the_bulk_element() -> None:
    raw = encode(nested(), EXPLICIT)
    result = scan(raw, EXPLICIT)
    assert b"".join(rewrite(result, {}, stop=result.header_end)) == raw[: result.header_end]


def test_value_longer_than_its_length_field_is_refused() -> None:
    result = scan(encode(film(), EXPLICIT), EXPLICIT)
    with pytest.raises(DataSetMalformed, match="65535"):
        rewrite(result, {element_with(result, 0x00100020).start: b"x" * 65_536})


def test_sequence_is_not_replaced_by_content() -> None:
    result = scan(encode(nested(), EXPLICIT), EXPLICIT)
    start = element_with(result, 0x00081140).start
    with pytest.raises(DataSetMalformed):
        rewrite(result, {start: b"text"})
    emptied = decode(b"".join(rewrite(result, {start: b""})), EXPLICIT)
    assert len(emptied.ReferencedImageSequence) == 0


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NATIVE), st.booleans(), st.sets(st.integers(0, 30)))
def test_removing_any_elements_leaves_the_rest(
    transfer_syntax: str, undefined: bool, chosen: set[int]
) -> None:
    ds = nested()
    if undefined:
        with_undefined_lengths(ds)
    result = scan(encode(ds, transfer_syntax), transfer_syntax)
    elements = list(result.walk())
    gone = [elements[number] for number in chosen if number < len(elements)]
    removed = {element.start for element in gone}
    left = [
        (element.tag, None if result.items(element) else result.value(element))
        for element in elements
        if not any(other.start <= element.start < other.end for other in gone)
    ]
    again = scan(b"".join(rewrite(result, dict.fromkeys(removed))), transfer_syntax)
    found = [(element.tag, None if element.vr == "SQ" else again.value(element)) for element in again.walk()]
    assert found == [(tag, value if tag != 0x00081140 else None) for tag, value in left]


def test_words_are_swapped_whole_or_not_at_all() -> None:
    assert swap_words(b"\1\2\3\4", "OW") == b"\2\1\4\3"
    assert swap_words(b"\1\2\3\4", "OF") == b"\4\3\2\1"
    assert swap_words(b"\1\2\3", "OW") == b"\1\2\3"
    assert swap_words(b"\1\2", "OB") == b"\1\2"


def test_odd_values_are_padded_by_their_vr() -> None:
    result = scan(explicit_element(0x00080060, b"CS", b"CR"), EXPLICIT)
    added = (
        NewElement(0x00100020, "LO", b"abc"),
        NewElement(0x0020000D, "UI", b"1.2"),
        NewElement(0x00420011, "OB", b"x"),
    )
    raw = b"".join(rewrite(result, {}, {TOP: added}))
    assert explicit_element(0x00100020, b"LO", b"abc ") in raw
    assert explicit_element(0x0020000D, b"UI", b"1.2\0") in raw
    assert explicit_element(0x00420011, b"OB", b"x\0") in raw
