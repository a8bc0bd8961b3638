"""Conversion between uncompressed syntaxes: pydicom reads the original and what came out as equal data sets."""

from __future__ import annotations

import warnings
from struct import pack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom.data_builders import (
    BIG,
    DEFLATED,
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
from ribcage.dicom.convert import (
    SOURCES,
    TARGETS,
    BulkConverter,
    Deflater,
    convert,
    convert_whole,
    encoding_of,
)
from ribcage.dicom.errors import DataSetMalformed, DicomError
from ribcage.dicom.rewrite import swap_words
from ribcage.dicom.scan import scan

PAIRS = [(source, target) for source in NATIVE for target in TARGETS if source != target]


def rich(*, signed: bool = False) -> Dataset:
    """A film with numbers of every width, sequences, an overlay, a private block, and signed values in an item."""
    ds = film()
    ds.PixelRepresentation = int(signed)
    ds.SmallestImagePixelValue = -5 if signed else 5
    ds["SmallestImagePixelValue"].VR = "SS" if signed else "US"
    ds.FrameIncrementPointer = [0x00181063, 0x00181065]
    ds.RecommendedDisplayFrameRateInFloat = 2.5
    ds.DopplerCorrectionAngle = -1.25
    ds.ReferencePixelX0 = -70_000
    ds.RegionFlags = 4_000_000_000
    inner = item(CodeValue="DEEP", CodeMeaning="odd")
    ds.ReferencedImageSequence = sequence(
        item(ReferencedSOPInstanceUID="1.2.9", PurposeOfReferenceCodeSequence=sequence(inner, item())),
        item(ReferencedSOPInstanceUID="1.2.10"),
    )
    ds.RequestAttributesSequence = sequence()
    ds.add_new(0x60003000, "OW", bytes(range(16)))
    block = ds.private_block(0x0029, "RIBCAGE TEST", create=True)
    block.add_new(0x01, "UN", b"opaque bytes")
    return ds


def bare(ds: Dataset, source: str = EXPLICIT) -> list[tuple[int, object]]:
    """Tags and values at every level, without the encoding's own marks; pydicom leaves OW as it lies."""
    found: list[tuple[int, object]] = []
    for element in ds:
        if element.VR == "SQ":
            found.append((int(element.tag), [bare(inner, source) for inner in element.value]))
        elif source == BIG and element.VR == "OW":
            found.append((int(element.tag), swap_words(element.value, "OW")))
        else:
            found.append((int(element.tag), element.value))
    return found


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_pydicom_reads_the_same_data_set(source: str, target: str, undefined: bool, signed: bool) -> None:
    ds = rich(signed=signed)
    if undefined:
        with_undefined_lengths(ds)
    raw = encode(ds, source)
    out = convert_whole(raw, source, target)
    assert bare(decode(out, target)) == bare(decode(raw, source), source)
    assert not len(out) % 2


@pytest.mark.parametrize("source", NATIVE)
def test_there_and_back_is_the_same_bytes(source: str) -> None:
    raw = encode(rich(), source)
    if source in (BIG, DEFLATED):
        return  # big endian is never written; deflate is not canonical
    for target in TARGETS:
        assert convert_whole(convert_whole(raw, source, target), target, source) == raw


_TEXT = st.text("ABC 0123456789", min_size=1, max_size=12).map(str.strip)
_ITEMS = st.recursive(
    st.builds(lambda meaning: item(CodeMeaning=meaning), _TEXT),
    lambda inner: st.builds(
        lambda meaning, below: item(CodeMeaning=meaning, ConceptNameCodeSequence=sequence(*below)),
        _TEXT,
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_ITEMS, max_size=3), st.sampled_from(PAIRS), st.booleans(), st.integers(0, 70_000))
def test_any_tree_of_items_stays_the_same(
    items: list[Dataset], pair: tuple[str, str], undefined: bool, comment: int
) -> None:
    ds = film()
    ds.ContentSequence = sequence(*items)
    ds.ImageComments = "x" * min(comment, 10_240)
    if undefined:
        with_undefined_lengths(ds)
    source, target = pair
    raw = encode(ds, source)
    assert bare(decode(convert_whole(raw, source, target), target)) == bare(decode(raw, source), source)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(sorted(SOURCES)), st.sampled_from(TARGETS))
def test_any_bytes_are_converted_or_refused_with_an_error_of_ours(
    raw: bytes, source: str, target: str
) -> None:
    try:
        out = convert_whole(raw, source, target)
    except DicomError:
        return
    scan(out, target)


def test_value_too_long_for_its_16_bit_length_becomes_unknown() -> None:
    value = b"\\".join([b"1.25"] * 20_000) + b" "
    raw = pack("<HHI", 0x0028, 0x3002, 0) + pack("<HHI", 0x3006, 0x0050, len(value)) + value
    out = convert_whole(raw, IMPLICIT, EXPLICIT)
    assert out[8:] == pack("<HH2sHI", 0x3006, 0x0050, b"UN", 0, len(value)) + value


def test_group_lengths_are_left_out_at_every_level() -> None:
    inside = pack("<HHI", 0xFFFE, 0xE000, 26) + explicit_element(0x00080000, b"UL", b"\0\0\0\0")
    inside += explicit_element(0x00080100, b"SH", b"ABCDEF")
    raw = explicit_element(0x00080000, b"UL", b"\1\2\3\4") + explicit_element(0x00081140, b"SQ", inside)
    found = scan(convert_whole(raw, EXPLICIT, IMPLICIT), IMPLICIT)
    assert [element.tag for element in found.walk()] == [0x00081140, 0x00080100]


def test_unknown_sequence_is_passed_on_whole() -> None:
    within = pack("<HHI", 0xFFFE, 0xE000, 12) + pack("<HHI", 0x0029, 0x0001, 4) + b"abcd"
    body = within + pack("<HHI", 0xFFFE, 0xE0DD, 0)
    implicit = pack("<HHI", 0x0029, 0x1000, 0xFFFFFFFF) + body
    explicit = pack("<HH2sHI", 0x0029, 0x1000, b"UN", 0, 0xFFFFFFFF) + body
    assert convert_whole(implicit, IMPLICIT, EXPLICIT) == explicit
    assert convert_whole(explicit, EXPLICIT, IMPLICIT) == implicit


@pytest.mark.parametrize("step", [1, 3, 7, 4096])
@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in PAIRS if DEFLATED not in (s, t)])
def test_bulk_stream_in_any_pieces_equals_the_whole(source: str, target: str, step: int) -> None:
    ds = film()
    ds.add_new(0xFFFCFFFC, "OB", b"padding.")
    raw = encode(ds, source)
    scanned = scan(raw, source)
    header = convert(scan(raw[: scanned.header_end], source), encoding_of(target))
    bulk = BulkConverter(source, encoding_of(target))
    out = b"".join(header)
    for start in range(scanned.header_end, len(raw), step):
        out += b"".join(bulk.push(raw[start : start + step]))
    out += b"".join(bulk.finish())
    assert out == convert_whole(raw, source, target)


def test_cut_or_encapsulated_bulk_is_refused() -> None:
    raw = explicit_element(0x7FE00010, b"OW", bytes(64))
    bulk = BulkConverter(EXPLICIT, encoding_of(IMPLICIT))
    bulk.push(raw[:-2])
    with pytest.raises(DataSetMalformed):
        bulk.finish()
    with pytest.raises(DataSetMalformed):
        BulkConverter(EXPLICIT, encoding_of(IMPLICIT)).push(
            explicit_element(0x7FE00010, b"OB", b"", 0xFFFFFFFF)
        )


def test_deflater_gives_what_one_call_gives() -> None:
    raw = encode(rich(), EXPLICIT)
    deflater = Deflater()
    out = b"".join([*(deflater.push(raw[n : n + 50]) for n in range(0, len(raw), 50)), deflater.finish()])
    assert not len(out) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert bare(decode(out, DEFLATED)) == bare(decode(raw, EXPLICIT))
