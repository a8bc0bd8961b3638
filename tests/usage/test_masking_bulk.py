"""The bulk stream in the masked view: the pixel element passes, nothing behind it does."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate

from dicom.data_builders import BIG, EXPLICIT, IMPLICIT, JPEG, encode, explicit_element, film
from ribcage.dicom.errors import DataSetMalformed, UnsupportedTransferSyntax
from ribcage.dicom.scan import PIXEL_DATA, UNDEFINED, scan
from ribcage.usage.masking import PixelElementFilter, mask_bulk_plan

TRAILER = explicit_element(0xFFFCFFFC, b"OB", b"ZHANGWEI") + b"and junk ZHANGWEI"
END = pack("<HHI", 0xFFFE, 0xE0DD, 0)
ENCAPSULATED = explicit_element(PIXEL_DATA, b"OB", encapsulate([b"frame one!", b"two "]) + END, UNDEFINED)


def bulk_of(transfer_syntax: str) -> bytes:
    raw = encode(film(), transfer_syntax)
    return raw[scan(raw, transfer_syntax).header_end :]


STREAMS = {syntax: bulk_of(syntax) for syntax in (IMPLICIT, EXPLICIT, BIG)} | {JPEG: ENCAPSULATED}


@pytest.mark.parametrize("transfer_syntax", STREAMS)
def test_only_the_pixel_element_is_kept(transfer_syntax: str) -> None:
    stream = STREAMS[transfer_syntax]
    assert mask_bulk_plan(stream, transfer_syntax) == len(stream)
    assert mask_bulk_plan(stream + TRAILER, transfer_syntax) == len(stream)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(1, 20), max_size=40))
def test_chunks_of_any_size_give_the_same_bytes(transfer_syntax: str, sizes: list[int]) -> None:
    stream = STREAMS[transfer_syntax] + TRAILER
    gate = PixelElementFilter(transfer_syntax)
    passed = []
    position = 0
    for size in [*sizes, len(stream)]:
        passed.extend(gate.feed(stream[position : position + size]))
        position += size
    gate.finish()
    assert b"".join(passed) == STREAMS[transfer_syntax]
    assert gate.passed_bytes == len(STREAMS[transfer_syntax])


@pytest.mark.parametrize(
    ("stream", "transfer_syntax"),
    [
        pytest.param(explicit_element(0x00100010, b"OB", b"ZHANGWEI"), EXPLICIT, id="another element first"),
        pytest.param(explicit_element(PIXEL_DATA, b"LO", b"ZHANGWEI"), EXPLICIT, id="pixels as text"),
        pytest.param(explicit_element(PIXEL_DATA, b"OB", b"ab"), IMPLICIT, id="another encoding"),
        pytest.param(STREAMS[EXPLICIT][:-1], EXPLICIT, id="cut in the value"),
        pytest.param(STREAMS[EXPLICIT][:5], EXPLICIT, id="cut in the header"),
        pytest.param(ENCAPSULATED[:-3], JPEG, id="cut in the delimiter"),
        pytest.param(ENCAPSULATED[:-8] + TRAILER, JPEG, id="no delimiter"),
    ],
)
def test_damaged_bulk_stream_is_refused(stream: bytes, transfer_syntax: str) -> None:
    with pytest.raises(DataSetMalformed):
        mask_bulk_plan(stream, transfer_syntax)


def test_empty_bulk_stream_keeps_nothing() -> None:
    assert mask_bulk_plan(b"", EXPLICIT) == 0


def test_unknown_transfer_syntax_is_refused() -> None:
    with pytest.raises(UnsupportedTransferSyntax):
        PixelElementFilter("1.2.3")
