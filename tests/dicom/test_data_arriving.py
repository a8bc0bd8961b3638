"""A data set scanned while it arrives gives what the scan of the whole gives, cut wherever one likes."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate

from dicom.data_builders import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    encode,
    explicit_element,
    film,
    item,
    sequence,
)
from dicom.test_data_files import sample_files
from ribcage.dicom import arriving
from ribcage.dicom.attributes import extract
from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed, DicomError
from ribcage.dicom.part10 import split
from ribcage.dicom.scan import UNDEFINED, Scan, ScanLimits, scan

LIMITS = ScanLimits()
SYNTAXES = (IMPLICIT, EXPLICIT, BIG, JPEG)


def raw_film(transfer_syntax: str) -> bytes:
    ds = film()
    ds.SharedFunctionalGroupsSequence = sequence(item(SliceThickness=1.5), item())
    ds.PixelData = bytes(range(256)) * 2
    if transfer_syntax == JPEG:
        ds.PixelData = encapsulate([b"\xff\xd8" + bytes(300) + b"\xff\xd9", b"\xff\xd8\xff\xd9"])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
    ds.add_new(0xFFFCFFFC, "OB", bytes(20))
    return encode(ds, transfer_syntax)


def in_pieces(
    raw: bytes, transfer_syntax: str, first: int, size: int, limits: ScanLimits = LIMITS
) -> Scan | None:
    """As the way in does it: the header when `first` bytes are there, the rest in pieces of `size`."""
    found = arriving.begin(raw[:first], transfer_syntax, limits)
    if found is None:
        return None
    start = found.header.header_end
    for at in range(start, len(raw), size):
        found.pass_by(raw[at : at + size])
    return found.finish()


def essence(found: Scan) -> tuple[object, ...]:
    """What does not depend on where the bytes lie."""
    elements = [(e.tag, e.vr, e.length) for e in found.elements]
    bulk = found.bulk and (found.bulk.tag, found.bulk.start, found.bulk.length)
    attributes = [str(value) for value in extract(found).values()]
    return elements, bulk, found.header_end, found.notes, attributes


def outcome(
    raw: bytes, transfer_syntax: str, first: int | None, size: int = 1
) -> tuple[object, ...] | type | None:
    try:
        whole = first is None
        found = scan(raw, transfer_syntax) if whole else in_pieces(raw, transfer_syntax, first or 0, size)
        return found if found is None else essence(found)
    except DicomError as failure:
        return type(failure)


@pytest.mark.parametrize("transfer_syntax", SYNTAXES)
@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_every_cut_gives_the_scan_of_the_whole(transfer_syntax: str, size: int) -> None:
    raw = raw_film(transfer_syntax)
    wanted = outcome(raw, transfer_syntax, None)
    begun = 0
    for first in range(0, len(raw) + 1, 5):
        got = outcome(raw, transfer_syntax, first, size)
        assert got in (wanted, None)
        begun += got is not None
    assert begun > len(raw) // 20


@settings(deadline=None, max_examples=300)
@given(
    syntax=st.sampled_from(SYNTAXES),
    at=st.integers(0, 2000),
    byte=st.integers(0, 255),
    cut=st.integers(0, 60),
    first=st.integers(0, 2000),
    size=st.integers(1, 500),
)
def test_damage_is_refused_as_in_the_whole(
    syntax: str, at: int, byte: int, cut: int, first: int, size: int
) -> None:
    raw = bytearray(raw_film(syntax))
    raw[at % len(raw)] = byte
    damaged = bytes(raw[: len(raw) - cut])
    got = outcome(damaged, syntax, first, size)
    assert got is None or got == outcome(damaged, syntax, None)


@pytest.mark.parametrize("path", sample_files(), ids=lambda path: path.name)
def test_sample_files_scan_alike_in_pieces(path) -> None:  # type: ignore[no-untyped-def]
    raw = path.read_bytes()
    try:
        meta = split(raw)
    except DicomError:
        pytest.skip("no file meta information that can be read")
    data = raw[meta.prefix_bytes :]
    for first in (256, 4096, len(data)):
        got = outcome(data, meta.transfer_syntax_uid, first, 4099)
        assert got is None or got == outcome(data, meta.transfer_syntax_uid, None)


def test_what_cannot_be_told_while_it_arrives_is_not_begun() -> None:
    assert arriving.begin(encode(film(), DEFLATED), DEFLATED) is None
    assert arriving.begin(encode(film(pixels=False), EXPLICIT), EXPLICIT) is None
    odd = explicit_element(0x7FE00010, b"SQ", b"")
    assert arriving.begin(encode(film(pixels=False), EXPLICIT) + odd, EXPLICIT) is None


def test_limits_hold_while_it_arrives() -> None:
    raw = raw_film(JPEG)
    with pytest.raises(DataSetLimitExceeded, match="fragments"):
        in_pieces(raw, JPEG, len(raw), 50, ScanLimits(max_fragments=1))
    with pytest.raises(DataSetLimitExceeded, match="data set"):
        in_pieces(raw, JPEG, len(raw), 50, ScanLimits(max_data_set_bytes=len(raw) - 1))
    with pytest.raises(DataSetLimitExceeded, match="elements"):
        in_pieces(raw, JPEG, len(raw), 50, ScanLimits(max_elements=3))


def test_a_long_tail_is_refused_before_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "MAX_TAIL_BYTES", 100)
    raw = raw_film(EXPLICIT) + bytes(200)
    with pytest.raises(DataSetLimitExceeded, match="behind"):
        in_pieces(raw, EXPLICIT, len(raw), 50)


def test_fragments_that_never_end_are_refused() -> None:
    head = encode(film(pixels=False), EXPLICIT) + pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, UNDEFINED)
    endless = head + pack("<HHI", 0xFFFE, 0xE000, 4) + bytes(4)
    with pytest.raises(DataSetMalformed, match="delimiter"):
        in_pieces(endless, JPEG, len(endless), 50)
