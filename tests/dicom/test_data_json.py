"""The DICOM JSON Model agrees with pydicom on ordinary data sets, and with PS3.18 where pydicom does not."""

from __future__ import annotations

import json

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
)
from ribcage.dicom.errors import DicomError
from ribcage.dicom.json_model import to_json_model
from ribcage.dicom.scan import scan


def rich() -> Dataset:
    ds = film()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Wang^XiaoDong=王^小东=wang^xiaodong"
    ds.OtherPatientNames = ["A^B", "C=丁"]
    ds.AccessionNumber = ""
    ds.StudyDescription = "胸部正位片"
    ds.TableSpeed = 1.25
    ds.SmallestImagePixelValue = 0
    ds.FrameIncrementPointer = 0x00181063
    ds.WindowCenter = [40, 400.5]
    ds.ImageComments = "line one\nline \\ two"
    ds.RetrieveURL = "https://example.invalid/a"
    ds.EncapsulatedDocument = b"%PDF-1.7"
    ds.RedPaletteColorLookupTableData = bytes(range(16))
    ds.ReferencedImageSequence = sequence(
        item(
            ReferencedSOPInstanceUID="1.2", PurposeOfReferenceCodeSequence=sequence(item(CodeMeaning="曾经"))
        )
    )
    ds.private_block(0x0009, "RIBCAGE TEST", create=True).add_new(1, "UN", b"secret")
    return ds


def without_charset(model: object) -> object:
    if isinstance(model, dict):
        return {key: without_charset(value) for key, value in model.items() if key != "00080005"}
    return [without_charset(value) for value in model] if isinstance(model, list) else model


@pytest.mark.parametrize("transfer_syntax", NATIVE)
def test_model_agrees_with_pydicom(transfer_syntax: str) -> None:
    raw = encode(rich(), transfer_syntax)
    theirs = decode(raw, transfer_syntax).to_json_dict(1, lambda element: f"/{int(element.tag):08X}")
    ours = to_json_model(
        scan(raw, transfer_syntax), bulk_locator=lambda path: "/" + str(path[-1]), inline_bytes=0
    )
    assert without_charset(ours) == without_charset(theirs)
    assert ours["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    inline = to_json_model(scan(raw, transfer_syntax))
    assert inline["00420011"] == {"vr": "OB", "InlineBinary": "JVBERi0xLjc="}
    words = "AQADAgUEBwYJCAsKDQwPDg==" if transfer_syntax == BIG else "AAECAwQFBgcICQoLDA0ODw=="
    assert inline["00281201"] == {
        "vr": "OW",
        "InlineBinary": words,
    }
    json.dumps(inline, allow_nan=False)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.decimals(-999, 999, places=2).map(str), min_size=1, max_size=3),
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=3),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3),
    st.text(alphabet="王小东abc ^", max_size=10),
)
def test_generated_values_agree_with_pydicom(
    ds_: list[str], is_: list[int], fd: list[float], text: str
) -> None:
    ds = film()
    ds.SpecificCharacterSet = "GB18030"
    ds.WindowCenter, ds.FrameNumbersOfInterest = ds_, [1]
    ds.ReferencedFrameNumber, ds.DiffusionGradientOrientation = is_, fd
    ds.StudyDescription = text.strip()
    raw = encode(ds, EXPLICIT)
    theirs = decode(raw, EXPLICIT).to_json_dict(1, lambda element: "bulk")
    assert without_charset(
        to_json_model(scan(raw, EXPLICIT), bulk_locator=lambda path: "bulk")
    ) == without_charset(theirs)


def test_nested_character_set_prevails_inside_its_item() -> None:
    inner = explicit_element(0x00080005, b"CS", b"GB18030 ") + explicit_element(
        0x00080104, b"LO", "诊断".encode("gb18030")
    )
    items = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
    raw = (
        explicit_element(0x00080005, b"CS", b"ISO_IR 192")
        + explicit_element(0x00081032, b"SQ", items)
        + explicit_element(0x00081030, b"LO", "胸片".encode())
    )
    model = to_json_model(scan(raw, EXPLICIT))
    assert model["00081032"]["Value"][0]["00080104"]["Value"] == ["诊断"]  # type: ignore[index, call-overload]
    assert model["00081030"]["Value"] == ["胸片"]  # type: ignore[index, call-overload]


def test_bad_numbers_become_text_and_never_invalid_json() -> None:
    raw = (
        explicit_element(0x00181065, b"DS", b"1.5\\none\\")
        + explicit_element(0x00200013, b"IS", b"seven ")
        + explicit_element(0x00189309, b"FD", bytes.fromhex("000000000000f87f 000000000000f0ff"))
    )
    model = to_json_model(scan(raw, EXPLICIT))
    assert model["00181065"] == {"vr": "DS", "Value": [1.5, "none", None]}
    assert model["00200013"] == {"vr": "IS", "Value": ["seven"]}
    assert model["00189309"] == {"vr": "FD", "Value": ["NaN", "-Infinity"]}
    json.dumps(model, allow_nan=False)


def test_bulk_is_named_by_its_path_or_left_out() -> None:
    ds = film()
    ds.WaveformSequence = sequence(item(), item(WaveformBitsAllocated=16, ChannelMinimumValue=b"\0" * 2000))
    result = scan(encode(ds, EXPLICIT), EXPLICIT)
    seen: list[tuple[str | int, ...]] = []

    def locate(path: tuple[str | int, ...]) -> str:
        seen.append(path)
        return "/".join(map(str, path))

    model = to_json_model(result, bulk_locator=locate)
    assert seen == [("54000100", 1, "54000110"), ("7FE00010",)]
    assert model["7FE00010"] == {"vr": "OW", "BulkDataURI": "7FE00010"}
    assert to_json_model(result)["7FE00010"] == {"vr": "OW"}


def test_header_stream_names_its_pixels() -> None:
    raw = encode(film(), EXPLICIT)
    header = raw[: scan(raw, EXPLICIT).header_end]
    model = to_json_model(scan(header, EXPLICIT), bulk_locator=lambda path: "pixels", pixel_vr="OW")
    assert model["7FE00010"] == {"vr": "OW", "BulkDataURI": "pixels"}
    assert "7FE00010" not in to_json_model(scan(header, EXPLICIT))


def test_group_lengths_are_left_out() -> None:
    raw = explicit_element(0x00080000, b"UL", b"\x0a\0\0\0") + explicit_element(0x00080060, b"CS", b"CR")
    assert list(to_json_model(scan(raw, EXPLICIT))) == ["00080060"]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_model_of_damaged_data_sets_is_json_or_refused(data: st.DataObject) -> None:
    transfer_syntax = data.draw(st.sampled_from((IMPLICIT, EXPLICIT)))
    raw = bytearray(encode(rich(), transfer_syntax))
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        result = scan(bytes(raw), transfer_syntax)
    except DicomError:
        return
    json.dumps(to_json_model(result), allow_nan=False)
