"""The scanner: agrees with pydicom on what is sound, refuses the rest quickly and by the one permitted error."""

from __future__ import annotations

import time
import zlib
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicom.data_builders import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    NATIVE,
    encode,
    explicit_element,
    film,
    item,
    sequence,
    with_undefined_lengths,
)
from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed, DicomError, UnsupportedTransferSyntax
from ribcage.dicom.scan import PIXEL_DATA, UNDEFINED, Scan, ScanLimits, scan


def tags_of(ds: Dataset) -> list[int]:
    found = []
    for element in ds:
        found.append(int(element.tag))
        if element.VR == "SQ":
            for inner in element.value:
                found.extend(tags_of(inner))
    return found


def scanned_tags(result: Scan) -> list[int]:
    return [element.tag for element in result.walk()]


def nested_film() -> Dataset:
    ds = film()
    ds.SharedFunctionalGroupsSequence = sequence(
        item(PixelMeasuresSequence=sequence(item(SliceThickness=1.5))), item(), item(FrameLaterality="L")
    )
    return ds


@pytest.mark.parametrize("transfer_syntax", NATIVE)
@pytest.mark.parametrize("undefined", [False, True])
def test_scan_sees_the_same_elements_as_pydicom(transfer_syntax: str, undefined: bool) -> None:
    ds = nested_film()
    if undefined:
        with_undefined_lengths(ds)
    raw = encode(ds, transfer_syntax)
    result = scan(raw, transfer_syntax)
    assert scanned_tags(result) == tags_of(ds)
    assert result.elements_end == len(result.data)
    assert result.bulk is not None and result.bulk.tag == PIXEL_DATA
    assert result.value(result.bulk)[:4] in (b"\0\1\2\3", b"\1\0\3\2")
    if transfer_syntax == DEFLATED:
        assert result.header_end == len(raw)
    else:
        assert result.header_end == result.bulk.start
        header = scan(raw[: result.header_end], transfer_syntax)
        assert header.bulk is None
        assert header.header_end == result.header_end


def test_start_offset_scans_the_same_elements() -> None:
    raw = encode(nested_film(), EXPLICIT)
    behind = scan(b"x" * 132 + raw, EXPLICIT, start=132)
    assert scanned_tags(behind) == scanned_tags(scan(raw, EXPLICIT))
    assert behind.header_end == scan(raw, EXPLICIT).header_end + 132


def test_encapsulated_fragments_end_at_their_delimiter() -> None:
    ds = film(pixels=False)
    raw = encode(ds, EXPLICIT)
    pixels = encapsulate([b"\xff\xd8frame one\xff\xd9", b"\xff\xd8frame two!\xff\xd9"])
    stream = explicit_element(PIXEL_DATA, b"OB", b"", UNDEFINED) + pixels + pack("<HHI", 0xFFFE, 0xE0DD, 0)
    padding = explicit_element(0xFFFCFFFC, b"OB", b"\0\0")
    result = scan(raw + stream + padding, JPEG)
    assert result.bulk is not None
    assert (result.bulk.start, result.bulk.end) == (len(raw), len(raw) + len(stream))
    assert result.elements[-1].tag == 0xFFFCFFFC


def test_un_of_undefined_length_holds_implicit_items() -> None:
    inner = encode(item(PatientName="A^B"), IMPLICIT)
    value = pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner + pack("<HHI", 0xFFFE, 0xE0DD, 0)
    raw = explicit_element(0x00091001, b"UN", value, UNDEFINED) + explicit_element(0x00100020, b"LO", b"P1")
    result = scan(raw, EXPLICIT)
    assert scanned_tags(result) == [0x00091001, 0x00100010, 0x00100020]


def test_private_sequence_of_defined_length_is_opaque_in_implicit() -> None:
    inner = encode(item(PatientName="A^B"), IMPLICIT)
    value = pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    raw = pack("<HHI", 0x0009, 0x1001, len(value)) + value
    result = scan(raw, IMPLICIT)
    assert [(element.tag, element.vr) for element in result.walk()] == [(0x00091001, "UN")]


def test_quirks_are_noted_and_not_hidden() -> None:
    odd = explicit_element(0x00100020, b"LO", b"abc")
    earlier = explicit_element(0x00080060, b"CS", b"CR")
    assert scan(odd + earlier, EXPLICIT).notes == {"odd_length", "unordered_tags"}
    assert scan(earlier + earlier, EXPLICIT).notes == {"duplicate_tag"}
    assert scan(earlier + b"\0" * 64, EXPLICIT).notes == {"trailing_bytes"}
    assert scan(earlier + b"\0" * 64, EXPLICIT).elements_end == len(earlier)
    assert scan(earlier + b"\x01\x02\x03", EXPLICIT).notes == {"trailing_bytes"}
    assert "unknown_vr" in scan(pack("<HH2sHI", 0x10, 0x20, b"QQ", 0, 2) + b"ab", EXPLICIT).notes


@pytest.mark.parametrize(
    ("raw", "transfer_syntax"),
    [
        pytest.param(explicit_element(0x00100020, b"LO", b"ab", 200), EXPLICIT, id="value beyond the end"),
        pytest.param(explicit_element(0x00100020, b"OB", b"ab", 0xFFFFFFFE), EXPLICIT, id="length of 4 GiB"),
        pytest.param(
            explicit_element(0x00100020, b"UT", b"ab", UNDEFINED), EXPLICIT, id="undefined length of text"
        ),
        pytest.param(
            explicit_element(0x00081140, b"SQ", b"", UNDEFINED), EXPLICIT, id="sequence without its end"
        ),
        pytest.param(explicit_element(0x00081140, b"SQ", b"12345678"), EXPLICIT, id="sequence of no items"),
        pytest.param(explicit_element(0x00081140, b"SQ", b"1234"), EXPLICIT, id="half an item"),
        pytest.param(pack("<HHI", 0xFFFE, 0xE00D, 0), EXPLICIT, id="stray item delimiter"),
        pytest.param(pack("<HHI", 0xFFFE, 0xE000, 0), IMPLICIT, id="stray item"),
        pytest.param(pack("<HH2sH", 8, 5, b"\x01\x02", 0), EXPLICIT, id="no VR"),
        pytest.param(pack("<HH2sH", 8, 5, b"cs", 0), EXPLICIT, id="lower case VR"),
        pytest.param(pack("<HH2sH", 8, 5, b"OB", 0), EXPLICIT, id="long header cut"),
        pytest.param(explicit_element(PIXEL_DATA, b"OB", b"", UNDEFINED), JPEG, id="fragments without end"),
        pytest.param(
            explicit_element(PIXEL_DATA, b"OB", pack("<HHI", 0xFFFE, 0xE000, 99), UNDEFINED),
            JPEG,
            id="fragment cut",
        ),
        pytest.param(b"\x00\x00" * 4 + b"MZ payload behind the data set", EXPLICIT, id="foreign bytes"),
        pytest.param(b"\xff\xff\xff not deflate", DEFLATED, id="damaged deflate"),
        pytest.param(b"", DEFLATED, id="empty deflate"),
    ],
)
def test_malformed_data_set_is_refused(raw: bytes, transfer_syntax: str) -> None:
    sound = explicit_element(0x00080001, b"UL", b"\0\0\0\0")
    if transfer_syntax == IMPLICIT:
        sound = pack("<HHI", 8, 1, 4) + b"\0\0\0\0"
    with pytest.raises(DataSetMalformed):
        scan(raw if transfer_syntax == DEFLATED else sound + raw, transfer_syntax)


def test_unknown_transfer_syntax_is_refused() -> None:
    with pytest.raises(UnsupportedTransferSyntax):
        scan(b"", "1.2.3")


def bomb_defined(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = pack("<HHI", 0xFFFE, 0xE000, len(body)) + body
        body = explicit_element(0x00081140, b"SQ", body)
    return body


def bomb_undefined(depth: int) -> bytes:
    opening = explicit_element(0x00081140, b"SQ", b"", UNDEFINED) + pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    return opening * depth


def zip_bomb() -> bytes:
    engine = zlib.compressobj(9, wbits=-15)
    return b"".join([*(engine.compress(bytes(1024**2)) for _ in range(64)), engine.flush()])


@pytest.mark.parametrize(
    ("raw", "transfer_syntax"),
    [
        pytest.param(bomb_defined(10_000), EXPLICIT, id="depth 10,000 of defined length"),
        pytest.param(bomb_undefined(10_000), EXPLICIT, id="depth 10,000 of undefined length"),
        pytest.param(zip_bomb(), DEFLATED, id="64 MiB in 64 KiB"),
        pytest.param(
            explicit_element(0x00081140, b"SQ", pack("<HHI", 0xFFFE, 0xE000, 0) * 1_000_001),
            EXPLICIT,
            id="items",
        ),
        pytest.param(pack("<HHI", 8, 1, 0) * 1_000_001, IMPLICIT, id="a million elements"),
    ],
)
def test_bomb_is_refused_within_its_limits(raw: bytes, transfer_syntax: str) -> None:
    began = time.process_time()
    with pytest.raises(DataSetLimitExceeded):
        scan(raw, transfer_syntax)
    assert time.process_time() - began < 8.0


def test_data_set_beyond_its_bytes_is_refused() -> None:
    with pytest.raises(DataSetLimitExceeded):
        scan(bytes(100), IMPLICIT, ScanLimits(max_data_set_bytes=99))


def test_zeros_behind_group_zero_do_not_cost_quadratic_time() -> None:
    raw = explicit_element(0x00080001, b"UL", b"\0\0\0\0") + bytes(4 * 1024**2) + b"\x01"
    began = time.process_time()
    with pytest.raises(DataSetMalformed):
        scan(raw, EXPLICIT)
    assert time.process_time() - began < 1.0


def test_pixels_are_not_read() -> None:
    raw = encode(film(pixels=False), EXPLICIT)
    small = raw + explicit_element(PIXEL_DATA, b"OW", bytes(1024))
    large = raw + explicit_element(PIXEL_DATA, b"OW", bytes(64 * 1024**2))

    def fastest(data: bytes) -> float:
        times = []
        for _ in range(20):
            began = time.perf_counter()
            scan(data, EXPLICIT)
            times.append(time.perf_counter() - began)
        return min(times)

    assert fastest(large) < 5 * fastest(small)


texts = st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789", max_size=12)
leaves = st.fixed_dictionaries(
    {},
    optional={
        "StudyDescription": texts,
        "SliceThickness": st.integers(0, 999),
        "Rows": st.integers(0, 65535),
        "TableSpeed": st.floats(allow_nan=False, allow_infinity=False),
        "EncapsulatedDocument": st.binary(max_size=20).map(lambda raw: raw + b"\0" * (len(raw) & 1)),
        "DerivationDescription": texts,
        "LossyImageCompression": st.sampled_from(["00", "01"]),
    },
)
data_sets = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries(
        {"Rows": st.integers(0, 9)},
        optional={
            "ReferencedImageSequence": st.lists(inner, max_size=3),
            "SourceImageSequence": st.lists(inner, max_size=2),
        },
    ),
    max_leaves=8,
)


def build(values: dict[str, object]) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, sequence(*map(build, value)) if isinstance(value, list) else value)
    return ds


@settings(deadline=None, max_examples=60)
@given(data_sets, st.sampled_from(NATIVE), st.booleans())
def test_scan_agrees_with_pydicom_on_generated_data_sets(
    values: dict[str, object], transfer_syntax: str, undefined: bool
) -> None:
    ds = build(values)
    if undefined:
        with_undefined_lengths(ds)
    result = scan(encode(ds, transfer_syntax), transfer_syntax)
    assert scanned_tags(result) == tags_of(ds)
    spans = [element for element in result.walk() if element.vr == "SQ"]
    assert [len(result.items(element)) for element in spans] == [
        len(element.value) for element in ds.iterall() if element.VR == "SQ"
    ]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.sampled_from((IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG)))
def test_any_bytes_are_scanned_or_refused_by_the_tree(raw: bytes, transfer_syntax: str) -> None:
    try:
        result = scan(raw, transfer_syntax)
    except DicomError:
        return
    assert result.start <= result.elements_end <= len(result.data)
    for element in result.walk():
        assert element.start < element.value <= element.end <= len(result.data)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_data_set_is_scanned_or_refused_by_the_tree(data: st.DataObject) -> None:
    raw = bytearray(encode(with_undefined_lengths(nested_film()), EXPLICIT))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        result = scan(bytes(raw[:cut]), EXPLICIT)
    except DicomError:
        return
    assert all(element.end <= cut for element in result.elements)
