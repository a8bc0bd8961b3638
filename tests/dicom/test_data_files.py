"""DICOM files: the prefix, its quirks, the index attributes; and the public sample files."""

from __future__ import annotations

import os
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from dicom.data_builders import BIG, CR, EXPLICIT, IMPLICIT, NATIVE, decode, encode, explicit_element, film
from ribcage.dicom.attributes import extract
from ribcage.dicom.errors import DataSetMalformed, DicomError, UnsupportedTransferSyntax
from ribcage.dicom.part10 import file_prefix, split
from ribcage.dicom.rewrite import rewrite
from ribcage.dicom.scan import scan
from ribcage.guard.protocol import Attributes

SAMPLES = Path(os.environ.get("RIBCAGE_DICOM_FILES", Path(__file__).parents[3] / "shared" / "data" / "dicom"))
UNADDRESSED = {"dcm4che__no_preamble_dicm_in_data.dcm", "pydicom-data__HTJ2K_08_RGB.dcm"}
MALFORMED = {"fo-dicom__GH364.dcm"}


def sample_files() -> list[Path]:
    return sorted(SAMPLES.glob("*.dcm")) if SAMPLES.is_dir() else []


@pytest.mark.parametrize("transfer_syntax", NATIVE)
def test_own_prefix_is_read_back_by_us_and_by_pydicom(transfer_syntax: str) -> None:
    raw = encode(film(), transfer_syntax)
    prefix = file_prefix(CR, "1.2.3.4", transfer_syntax)
    meta = split(prefix + raw)
    assert meta.prefix_bytes == len(prefix)
    assert (meta.sop_class_uid, meta.sop_instance_uid) == (CR, "1.2.3.4")
    assert meta.transfer_syntax_uid == transfer_syntax
    assert meta.notes == frozenset()
    assert decode(raw, transfer_syntax).PatientID == "P1"


@pytest.mark.parametrize("uid", ["", "1" * 65, "1..2", ".1", "1.", "1.2a", "1.2 ", "１.2"])
def test_prefix_with_a_bad_uid_is_refused(uid: str) -> None:
    with pytest.raises(DataSetMalformed):
        file_prefix(CR, uid, EXPLICIT)


def test_prefix_of_an_unknown_transfer_syntax_is_refused() -> None:
    with pytest.raises(UnsupportedTransferSyntax):
        file_prefix(CR, "1.2", "1.2.3")


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG])
def test_file_without_meta_is_guessed_and_noted(transfer_syntax: str) -> None:
    meta = split(encode(film(), transfer_syntax))
    assert meta.transfer_syntax_uid == transfer_syntax
    assert meta.prefix_bytes == 0
    assert meta.notes == {"no_preamble", "no_meta", "guessed_transfer_syntax"}


def test_wrong_group_length_is_noted_and_not_believed() -> None:
    prefix = bytearray(file_prefix(CR, "1.2.3.4", EXPLICIT))
    prefix[140:144] = pack("<I", 7)
    meta = split(bytes(prefix) + encode(film(), EXPLICIT))
    assert meta.prefix_bytes == len(prefix)
    assert meta.notes == {"wrong_meta_length"}


def test_magic_word_inside_a_bare_data_set_is_not_a_preamble() -> None:
    raw = explicit_element(0x00080005, b"CS", b"x" * 120) + explicit_element(0x00104000, b"LT", b"y")
    raw = raw[:128] + b"DICM" + raw[132:]
    assert split(raw.replace(b"x" * 119, b"x" * 119)).prefix_bytes == 0


@pytest.mark.parametrize(
    "raw", [b"", b"DICM", b"%PDF-1.7 and so on, long enough", bytes(132), bytes(128) + b"DICM"]
)
def test_what_is_no_dicom_file_is_refused(raw: bytes) -> None:
    with pytest.raises(DataSetMalformed):
        split(raw)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_split_or_refused_by_the_tree(raw: bytes, magic: bool) -> None:
    data = bytes(128) + b"DICM\x02\x00" + raw if magic else raw
    try:
        meta = split(data)
    except DicomError:
        return
    assert 0 <= meta.prefix_bytes <= len(data)


def test_attributes_are_exactly_the_fields_of_the_guards_message() -> None:
    fields = extract(scan(encode(film(), EXPLICIT), EXPLICIT))
    assert set(fields) == set(Attributes.__struct_fields__)
    assert Attributes(**fields).patient_name == "DOE^JANE"  # type: ignore[arg-type]
    assert (fields["rows"], fields["bits_allocated"], fields["instance_number"]) == (4, 16, "7")


@pytest.mark.parametrize("transfer_syntax", NATIVE)
def test_attributes_are_the_same_in_every_encoding(transfer_syntax: str) -> None:
    assert extract(scan(encode(film(), transfer_syntax), transfer_syntax)) == extract(
        scan(encode(film(), EXPLICIT), EXPLICIT)
    )


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_instance_without_an_address_is_refused(keyword: str) -> None:
    ds = film()
    delattr(ds, keyword)
    with pytest.raises(DataSetMalformed, match="expected"):
        extract(scan(encode(ds, EXPLICIT), EXPLICIT))


@pytest.mark.parametrize("value", [b"1.2.3/../4 ", b"1.2\0.3\0", b"9" * 66, b"DOE^JANE", b"1.2\\1.3 "])
def test_uid_of_other_characters_is_refused_and_not_quoted(value: bytes) -> None:
    raw = encode(film(), EXPLICIT).replace(
        explicit_element(0x0020000D, b"UI", b"1.2.3\0"), explicit_element(0x0020000D, b"UI", value)
    )
    with pytest.raises(DataSetMalformed) as refused:
        extract(scan(raw, EXPLICIT))
    assert "DOE" not in str(refused.value)


@pytest.mark.parametrize("tag", [0x00100020, 0x00100010, 0x00080018, 0x0020000D])
def test_second_answer_to_who_the_patient_is_is_refused(tag: int) -> None:
    raw = encode(film(pixels=False), EXPLICIT) + explicit_element(tag, b"LO", b"1.2.99")
    with pytest.raises(DataSetMalformed, match="twice"):
        extract(scan(raw, EXPLICIT))


def test_attributes_behind_wrong_types_are_empty_and_do_not_raise() -> None:
    raw = encode(film(pixels=False), EXPLICIT)
    raw = raw.replace(b"20260102", b"yesterda").replace(b"101500", b"noon  ")
    raw = raw.replace(
        explicit_element(0x00280010, b"US", b"\x04\0"), explicit_element(0x00280010, b"US", b"")
    )
    fields = extract(scan(raw, EXPLICIT))
    assert (fields["study_date"], fields["study_time"], fields["rows"]) == ("", "", 0)


@pytest.mark.parametrize(
    ("declared", "raw", "expected"),
    [
        (b"GB18030", "王^小东".encode("gb18030"), "王^小东"),
        (b"GBK", "龙^五".encode("gbk"), "龙^五"),
        (b"ISO_IR 192", "王^小東".encode(), "王^小東"),
        (
            b"\\ISO 2022 IR 58",
            b"Wang=\x1b$)A" + "王".encode("gb2312") + b"^\x1b$)A" + "小东".encode("gb2312"),
            "Wang=王^小东",
        ),
        (
            b"\\ISO 2022 IR 149",
            b"Hong=\x1b$)C" + "洪^".encode("euc_kr") + b"\x1b$)C" + "吉洞".encode("euc_kr"),
            "Hong=洪^吉洞",
        ),
        (b"\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada=山田^太郎"),
        (b"ISO_IR 100", "Müller".encode("latin_1"), "Müller"),
        (b"ISO IR 144", "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
        (b"", "王^小东".encode("gb18030"), "王^小东"),
        (b"", "王^小东".encode(), "王^小东"),
        (b"", b"M\xfcller\xff", "Müllerÿ"),
        (b"NO SUCH TERM", "王".encode(), "王"),
        (b"ISO_IR 192", b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_patient_name_is_decoded_by_its_character_set(declared: bytes, raw: bytes, expected: str) -> None:
    ds = encode(film(), EXPLICIT)
    assert ds.count(explicit_element(0x00100010, b"PN", b"DOE^JANE")) == 1
    padded = raw + b" " * (len(raw) & 1)
    ds = ds.replace(
        explicit_element(0x00100010, b"PN", b"DOE^JANE"), explicit_element(0x00100010, b"PN", padded)
    )
    charset = explicit_element(0x00080005, b"CS", declared + b" " * (len(declared) & 1))
    assert extract(scan(charset + ds, EXPLICIT))["patient_name"] == expected


def test_second_byte_5c_of_gb18030_is_no_separator() -> None:
    name = "誠"
    assert b"\\" in name.encode("gb18030")
    ds = film()
    ds.SpecificCharacterSet = "GB18030"
    ds.StudyDescription = name
    raw = encode(ds, EXPLICIT)
    assert extract(scan(raw, EXPLICIT))["study_description"] == name


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60), st.binary(max_size=40))
def test_text_of_any_bytes_never_raises(charset: bytes, name: bytes) -> None:
    raw = explicit_element(0x00080005, b"CS", charset) + encode(film(), EXPLICIT).replace(
        explicit_element(0x00100010, b"PN", b"DOE^JANE"), explicit_element(0x00100010, b"PN", name)
    )
    assert isinstance(extract(scan(raw, EXPLICIT))["patient_name"], str)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # pydicom on one sample's made-up UID
@pytest.mark.skipif(
    not sample_files(), reason="public sample files absent: set RIBCAGE_DICOM_FILES to their folder"
)
@pytest.mark.parametrize("path", sample_files(), ids=lambda path: path.name[:40])
def test_sample_file_is_scanned_rewritten_bit_for_bit_or_clearly_refused(path: Path) -> None:
    data = path.read_bytes()
    meta = split(data)
    body = memoryview(data)[meta.prefix_bytes :]
    if path.name in MALFORMED:
        with pytest.raises(DataSetMalformed, match="misplaced item"):
            scan(body, meta.transfer_syntax_uid)
        return
    result = scan(body, meta.transfer_syntax_uid)
    if not result.deflated:
        assert b"".join(rewrite(result, {})) == body
    if path.name in UNADDRESSED:
        with pytest.raises(DataSetMalformed, match="without it"):
            extract(result)
    else:
        theirs = dcmread(
            path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "StudyInstanceUID", "Rows"]
        )
        ours = extract(result)
        assert ours["sop_instance_uid"] == theirs.SOPInstanceUID
        assert ours["study_instance_uid"] == theirs.StudyInstanceUID
        assert ours["rows"] == theirs.get("Rows", 0)
