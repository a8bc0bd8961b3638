"""The masked header: nothing personal survives, at no level, in no encoding; what is shown survives."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from dicom.data_builders import (
    BIG,
    CR,
    CT,
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
from ribcage.dicom.dictionary import VR_BY_TAG
from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed, DicomError
from ribcage.dicom.part10 import file_prefix
from ribcage.dicom.scan import inflate, scan
from ribcage.usage.masking import (
    MaskedHeader,
    MaskingError,
    NoMaskingRule,
    PseudonymInvalid,
    mask_header,
    masked_metadata,
)
from ribcage.usage.masking.rules import Rule, rules

SECRETS = (
    "ZHANGWEI",
    "张伟",
    "11010119900307",
    "13800138000",
    "朝阳区建国路",
    "39.9042",
    "19900307",
    "LEAKED",
)
TEXTS = {
    "AE": "LEAKED",
    "AS": "036Y",
    "CS": "LEAKED ZHANGWEI",
    "DA": "19900307",
    "DS": "39.9042",
    "DT": "19900307101112",
    "IS": "1101011990",
    "LO": "张伟 ZHANGWEI",
    "LT": "张伟 13800138000 朝阳区建国路",
    "PN": "ZHANGWEI^LEAKED=张伟",
    "SH": "11010119900307",
    "ST": "张伟 LEAKED",
    "TM": "101112",
    "UC": "张伟 LEAKED",
    "UR": "https://LEAKED.invalid/ZHANGWEI",
    "UT": "张伟 13800138000",
}
CONTAINERS = (
    "SharedFunctionalGroupsSequence",
    "ReferencedImageSequence",
    "RequestAttributesSequence",
    "OriginalAttributesSequence",
    "ViewCodeSequence",
)

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


def secrets_in(raw: bytes) -> list[str]:
    codecs = ("utf_8", "gb18030", "gbk", "gb2312", "utf_16_le", "utf_16_be", "big5")
    found = []
    for secret in SECRETS:
        for codec in codecs:
            if secret.encode(codec, "ignore") and secret.encode(codec, "ignore") in raw:
                found.append(f"{secret} as {codec}")
    return found


def seed(ds: Dataset, depth: int = 2) -> Dataset:
    """An identity in every text attribute of the dictionary, private ones, and the same inside sequences."""
    for tag, vr in VR_BY_TAG.items():
        group = tag >> 16
        if group in (2, 0, 4) or group >= 0x50A0 or tag == 0x00080005:
            continue
        if vr in TEXTS and dictionary_known(tag):
            ds.add_new(tag, vr, TEXTS[vr])
    block = ds.private_block(0x0029, "LEAKED VENDOR", create=True)
    block.add_new(0x10, "LO", "张伟")
    block.add_new(0x11, "OB", b"ZHANGWEI")
    block.add_new(0x12, "SQ", sequence(item(PatientName="ZHANGWEI")))
    ds.add_new(0x60003000, "OW", b"ZHANGWEI")
    ds.add_new(0x50003000, "OW", b"ZHANGWEI")
    ds.EncapsulatedDocument = b"%PDF LEAKED "
    ds.IconImageSequence = sequence(item(Rows=1, Columns=8, BitsAllocated=8, PixelData=b"ZHANGWEI"))
    ds.IconImageSequence[0]["PixelData"].VR = "OB"
    ds.MakerNote = b"GPS 39.9042 "
    ds.add_new(0xFFFAFFFA, "SQ", sequence(item(Signature=b"ZHANGWEI")))
    for number, keyword in enumerate(CONTAINERS if depth else ()):
        setattr(ds, keyword, sequence(seed(item(), depth - 1 if number == 0 else 0)))
    return ds


def dictionary_known(tag: int) -> bool:
    try:
        return bool(dictionary_VR(tag))
    except KeyError:
        return False


@cache
def seeded_film(charset: str, undefined: bool) -> Dataset:
    ds = seed(film())
    ds.SpecificCharacterSet = charset
    ds.ImageType = ["ORIGINAL", "PRIMARY", "ZHANGWEI"]
    ds.Modality = "CR"
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.WindowCenter = "2048"
    ds.PixelSpacing = [0.15, 0.15]
    return with_undefined_lengths(ds) if undefined else ds


def header_of(raw: bytes, transfer_syntax: str) -> bytes:
    return raw[: scan(raw, transfer_syntax).header_end]


def mask(raw: bytes, transfer_syntax: str, sop_class: str = CR) -> MaskedHeader:
    return mask_header(raw, transfer_syntax, sop_class, patient_name="Masked^1a2b3c", patient_id="M-1a2b3c")


def plain(masked: MaskedHeader) -> bytes:
    raw = bytes(masked)
    return inflate(raw) if masked.transfer_syntax_uid == DEFLATED else raw


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on seeds that do not fit their VR
@pytest.mark.parametrize("transfer_syntax", NATIVE)
@pytest.mark.parametrize(("charset", "undefined"), [("GB18030", False), ("ISO_IR 192", True), ("GBK", True)])
def test_no_identity_survives_at_any_level(transfer_syntax: str, charset: str, undefined: bool) -> None:
    raw = encode(seeded_film(charset, undefined), transfer_syntax)
    original = inflate(raw) if transfer_syntax == DEFLATED else raw
    assert len(secrets_in(original)) >= len(SECRETS)  # the seeds are really there
    masked = mask(header_of(raw, transfer_syntax), transfer_syntax)
    allowed_numbers = {"39.9042"}  # a number in a technique attribute is a number, not a position
    left = [found for found in secrets_in(plain(masked)) if found.split()[0] not in allowed_numbers]
    assert left == []
    back = decode(bytes(masked), transfer_syntax)
    assert str(back.PatientName) == "Masked^1a2b3c"
    assert back.PatientID == "M-1a2b3c"
    assert "SpecificCharacterSet" not in back
    assert not any(element.tag.is_private or element.tag.group == 0x0016 for element in back.iterall())
    assert len(back.SharedFunctionalGroupsSequence) == 1  # containers were walked, not dropped
    assert {element.VR for element in back.iterall()} <= {
        "SQ", "UI", "CS", "DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "OW", "AT", "OV", "UV",
        "PN", "LO", "SH", "DA", "DT", "TM",
    }  # fmt: skip
    fixed = {one.tag: "".join(one.terms) for one in rules().attributes.values() if one.rule is Rule.FIXED}
    texts = [
        element
        for element in back.iterall()
        if element.VR in ("PN", "LO", "SH", "DA", "DT", "TM")
        and element.value
        and str(element.value) != fixed.get(int(element.tag))
    ]
    assert [element.keyword for element in texts] == ["PatientName", "PatientID"]


@pytest.mark.parametrize("transfer_syntax", NATIVE)
def test_what_must_stand_stands_and_says_nothing(transfer_syntax: str) -> None:
    ds = film()
    ds.PositionReferenceIndicator, ds.ContentDate, ds.ContentTime = "ZHANGWEI", "20260102", "101112"
    ds.AcquisitionContextSequence = sequence(item(ConceptNameCodeSequence=sequence(item(CodeValue="LEAKED"))))
    raw = header_of(encode(ds, transfer_syntax), transfer_syntax)
    plain_film = decode(bytes(mask(raw, transfer_syntax)), transfer_syntax)
    assert (plain_film.PositionReferenceIndicator, list(plain_film.AcquisitionContextSequence)) == ("", [])
    assert "ContentDate" not in plain_film  # of type 2C or 3 there
    ds.SOPClassUID, ds.DeviceSerialNumber = ENHANCED_CT, "ZHANGWEI"
    raw = header_of(encode(ds, transfer_syntax), transfer_syntax)
    grouped = decode(bytes(mask(raw, transfer_syntax, ENHANCED_CT)), transfer_syntax)
    assert (grouped.ContentDate, grouped.ContentTime) == ("19000101", "000000")
    assert grouped.DeviceSerialNumber == "MASKED"


@pytest.mark.parametrize("transfer_syntax", NATIVE)
def test_what_shows_the_picture_survives(transfer_syntax: str) -> None:
    ds = film()
    ds.FrameOfReferenceUID = "1.2.3.9"
    ds.ModalityLUTSequence = sequence(
        item(
            LUTDescriptor=[4, 0, 16],
            ModalityLUTType="OD",
            LUTData=b"\0\0\1\0\2\0\3\0",
            LUTExplanation="by ZHANGWEI",
        )
    )
    ds.ViewCodeSequence = sequence(
        item(CodeValue="399348003", CodingSchemeDesignator="SCT", CodeMeaning="ZHANG")
    )
    raw = encode(ds, transfer_syntax)
    back = decode(bytes(mask(header_of(raw, transfer_syntax), transfer_syntax)), transfer_syntax)
    for keyword in (
        "Rows",
        "Columns",
        "PixelSpacing",
        "BodyPartExamined",
        "ViewPosition",
        "Modality",
        "InstanceNumber",
    ):
        assert back[keyword].value == ds[keyword].value
    for keyword in (
        "SOPInstanceUID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "SOPClassUID",
    ):
        assert back[keyword].value == ds[keyword].value
    for keyword in ("PatientBirthDate", "StudyDate", "StudyTime"):
        assert not back[keyword].value
    lut = back.ModalityLUTSequence[0]
    assert (lut.ModalityLUTType, "LUTExplanation" in lut) == ("OD", False)
    view = back.ViewCodeSequence[0]
    assert (view.CodeValue, view.CodingSchemeDesignator, "CodeMeaning" in view) == ("399348003", "SCT", False)
    assert "PatientIdentityRemoved" not in back
    if transfer_syntax == DEFLATED:
        assert back.PixelData == ds.PixelData
    else:
        assert "PixelData" not in back


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        pytest.param(0x00200011, b"IS", b"ZHANGWEI", id="name as an integer"),
        pytest.param(0x00200011, b"IS", b"110101199003071234", id="identity number as an integer"),
        pytest.param(0x00200012, b"IS", b"13800138000 ", id="telephone as an integer"),
        pytest.param(0x00180050, b"DS", b"1.0\\ZHANGWEI", id="name among decimals"),
        pytest.param(0x00180050, b"DS", b"110101199003071234", id="identity number as a decimal"),
        pytest.param(0x00280010, b"LT", b"ZHANGWEI", id="numeric attribute under a text VR"),
        pytest.param(0x00280010, b"UN", b"ZHANGWEI", id="numeric attribute under UN"),
        pytest.param(0x00280010, b"US", b"ZHANGWEI!", id="odd bytes as a number"),
        pytest.param(0x00180015, b"CS", b"ZHANGWEI", id="name as a body part"),
        pytest.param(0x00180015, b"CS", b"CHEST\nZHANGWEI", id="name behind a line break"),
        pytest.param(0x00180015, b"CS", b"CHEST\0ZHANGWEI", id="name behind a zero"),
        pytest.param(0x00080008, b"CS", b"ZHANGWEI\\PRIMARY", id="name as an image type"),
        pytest.param(0x00200020, b"CS", b"ZHANGWEI\\F", id="name as an orientation"),
        pytest.param(0x00200052, b"UI", b"ZHANGWEI", id="name as a UID"),
        pytest.param(0x00200052, b"UI", b"1.2\0ZHANGWEI", id="name behind a UID"),
        pytest.param(0x00281201, b"OW", b"ZHANGWEI" * 20_000, id="a document as a palette"),
        pytest.param(0x00281201, b"UT", b"ZHANGWEI", id="a palette under a text VR"),
        pytest.param(0x00281201, b"OB", b"ZHANGWEI", id="a palette under another binary VR"),
        pytest.param(0x00280009, b"LT", b"ZHANGWEI", id="a pointer under a text VR"),
        pytest.param(0x00100040, b"CS", b"ZHANGWEI", id="name as a sex"),
        pytest.param(0x00080000, b"UL", b"\x04\0\0\0", id="group length"),
        pytest.param(0x00290010, b"LO", b"ZHANGWEI", id="private"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_allowed_attribute_with_a_foreign_value_goes(tag: int, vr: bytes, value: bytes, nested: bool) -> None:
    sop_class = explicit_element(0x00080016, b"UI", CR.encode() + b"\0" * (len(CR) & 1))
    element = explicit_element(tag, vr, value)
    if nested:
        items = b"\xfe\xff\x00\xe0" + len(element).to_bytes(4, "little") + element
        element = explicit_element(0x52009229, b"SQ", items)
    raw = bytes(mask(sop_class + element, EXPLICIT))
    assert b"ZHANGWEI" not in raw
    assert b"1101011990" not in raw
    assert b"1380013" not in raw
    assert b"\x29\x00\x10\x00" not in raw
    result = scan(raw, EXPLICIT)
    assert not any(found.tag == tag and result.value(found) for found in result.walk())


def test_second_occurrence_of_a_kept_tag_goes() -> None:
    raw = explicit_element(0x00080016, b"UI", CR.encode() + b"\0" * (len(CR) & 1))
    raw += explicit_element(0x00280010, b"US", b"\1\0") + explicit_element(0x00280010, b"US", b"\2\0")
    result = scan(bytes(mask(raw, EXPLICIT)), EXPLICIT)
    assert [result.value(element) for element in result.elements if element.tag == 0x00280010] == [b"\1\0"]


def test_bytes_behind_the_last_element_go() -> None:
    raw = header_of(encode(film(), EXPLICIT), EXPLICIT)
    assert bytes(mask(raw + bytes(64), EXPLICIT)) == bytes(mask(raw, EXPLICIT))
    assert bytes(mask(raw + b"LEAKED"[:6], EXPLICIT)) == bytes(mask(raw, EXPLICIT))


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG])
def test_elements_behind_the_pixels_do_not_return(transfer_syntax: str) -> None:
    ds = film()
    ds.DataSetTrailingPadding = b"ZHANGWEI"
    ds.DigitalSignaturesSequence = sequence(item(Signature=b"ZHANGWEI"))
    raw = encode(ds, transfer_syntax)
    whole = bytes(mask(raw + b"\0" * 32, transfer_syntax))
    assert b"ZHANGWEI" not in whole
    assert whole == bytes(
        mask(header_of(raw, transfer_syntax), transfer_syntax)
    )  # nor do the pixels themselves
    deflated = encode(ds, DEFLATED)
    back = mask(deflated, DEFLATED)
    assert b"ZHANGWEI" not in plain(back)
    assert scan(bytes(back), DEFLATED).bulk is not None


@pytest.mark.parametrize(
    "sop_class",
    [
        pytest.param("1.2.840.10008.5.1.4.1.1.88.11", id="structured report"),
        pytest.param("1.2.840.10008.5.1.4.1.1.88.22", id="enhanced structured report"),
        pytest.param("1.2.840.10008.5.1.4.1.1.104.1", id="encapsulated PDF"),
        pytest.param("1.2.840.10008.5.1.4.1.1.11.1", id="presentation state"),
        pytest.param("1.2.840.10008.5.1.4.1.1.9.1.1", id="waveform"),
        pytest.param("1.2.840.10008.5.1.4.1.1.77.1.4", id="photograph"),
        pytest.param("1.2.840.10008.5.1.4.1.1.66", id="raw data"),
        pytest.param("1.3.46.670589.11.0.0.12.1", id="private class"),
        pytest.param("", id="none"),
    ],
)
def test_class_without_a_rule_is_refused(sop_class: str) -> None:
    ds = film()
    ds.SOPClassUID = sop_class
    raw = header_of(encode(ds, EXPLICIT), EXPLICIT)
    with pytest.raises(NoMaskingRule):
        mask(raw, EXPLICIT, sop_class)


def test_data_set_of_another_class_than_the_index_says_is_refused() -> None:
    raw = header_of(encode(film(), EXPLICIT), EXPLICIT)
    with pytest.raises(NoMaskingRule):
        mask(raw, EXPLICIT, CT)
    twice = raw + explicit_element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.88.11\0")
    with pytest.raises(NoMaskingRule):
        mask(twice, EXPLICIT)


@pytest.mark.parametrize("pseudonym", ["", "张伟", "a\\b", "a\nb", "x" * 65])
def test_pseudonym_that_needs_a_character_set_is_refused(pseudonym: str) -> None:
    raw = header_of(encode(film(), EXPLICIT), EXPLICIT)
    with pytest.raises(PseudonymInvalid):
        mask_header(raw, EXPLICIT, CR, patient_name=pseudonym, patient_id="M-1")
    with pytest.raises(PseudonymInvalid):
        mask_header(raw, EXPLICIT, CR, patient_name="M", patient_id=pseudonym)


def test_pixels_are_never_said_to_be_checked() -> None:
    assert mask(header_of(encode(film(), EXPLICIT), EXPLICIT), EXPLICIT).pixels_checked is False


def test_code_outside_the_reviewed_list_removes_its_sequence() -> None:
    for scheme, code in (("SCT", "110101199"), ("99LEAK", "399348003"), ("ZHANGWEI", "1")):
        ds = film()
        ds.ViewCodeSequence = sequence(
            item(CodeValue="399348003", CodingSchemeDesignator="SCT"),
            item(CodeValue=code, CodingSchemeDesignator=scheme),
        )
        raw = header_of(encode(ds, EXPLICIT), EXPLICIT)
        assert "ViewCodeSequence" not in decode(bytes(mask(raw, EXPLICIT)), EXPLICIT)


@pytest.mark.parametrize("transfer_syntax", NATIVE)
def test_masked_metadata_is_the_masked_header(transfer_syntax: str) -> None:
    ds = film()
    ds.StudyDescription = "LEAKED"
    masked = mask(header_of(encode(ds, transfer_syntax), transfer_syntax), transfer_syntax)
    model = masked_metadata(masked)
    assert model["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Masked^1a2b3c"}]}
    assert model["00280010"] == {"vr": "US", "Value": [4]}
    assert "00081030" not in model
    assert "LEAKED" not in str(model)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_header_is_masked_or_refused_and_leaks_nothing(data: st.DataObject) -> None:
    transfer_syntax = data.draw(st.sampled_from((IMPLICIT, EXPLICIT, BIG)))
    raw = bytearray(HEADERS[transfer_syntax])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        masked = mask(bytes(raw), transfer_syntax)
    except (DicomError, MaskingError):
        return
    assert not any(secret.encode() in bytes(masked) for secret in ("ZHANGWEI", "LEAKED", "13800138000"))
    scan(bytes(masked), transfer_syntax)


def small_seeded_film() -> Dataset:
    ds = film(pixels=False)
    ds.PatientName, ds.StudyDescription, ds.PatientComments = "ZHANGWEI^A", "LEAKED", "13800138000"
    ds.RequestAttributesSequence = sequence(item(ScheduledProcedureStepDescription="ZHANGWEI"))
    ds.SharedFunctionalGroupsSequence = sequence(item(FrameLaterality="L", FrameComments="LEAKED"))
    return with_undefined_lengths(ds)


HEADERS = {syntax: encode(small_seeded_film(), syntax) for syntax in (IMPLICIT, EXPLICIT, BIG)}


@pytest.mark.parametrize("transfer_syntax", NATIVE)
@pytest.mark.skipif(not Path("/usr/bin/dcmdump").exists(), reason="DCMTK's dcmdump is not installed")
def test_masked_file_is_read_by_dcmtk(transfer_syntax: str, tmp_path: Path) -> None:
    raw = encode(with_undefined_lengths(seeded_like_film()), transfer_syntax)
    end = scan(raw, transfer_syntax).header_end
    masked = bytes(mask(raw[:end], transfer_syntax))
    path = tmp_path / "masked.dcm"
    path.write_bytes(file_prefix(CR, "1.2.3.4", transfer_syntax) + masked + raw[end:])
    program = shutil.which("dcmdump", path="/usr/bin")
    assert program is not None
    dumped = subprocess.run([program, str(path)], capture_output=True, check=True, timeout=20)
    assert dumped.stderr == b""
    assert b"Masked^1a2b3c" in dumped.stdout
    assert b"(7fe0,0010) OW" in dumped.stdout
    assert b"ZHANGWEI" not in dumped.stdout


def seeded_like_film() -> Dataset:
    ds = film()
    ds.PatientName = "ZHANGWEI"
    ds.SharedFunctionalGroupsSequence = sequence(
        item(FrameLaterality="L", FrameComments="ZHANGWEI"),
        item(PixelMeasuresSequence=sequence(item(SliceThickness=2))),
    )
    return ds


def test_allow_list_admits_no_free_text() -> None:
    for allowed in rules().attributes.values():
        if allowed.rule is Rule.FIXED:
            assert len(allowed.terms) == 1
        if allowed.rule in (Rule.NAME, Rule.ID, Rule.EMPTY, Rule.FIXED):
            continue
        text = allowed.vrs & {
            "LO",
            "LT",
            "PN",
            "SH",
            "ST",
            "UC",
            "UT",
            "UR",
            "AE",
            "DA",
            "DT",
            "TM",
            "AS",
            "UN",
            "OB",
        }
        assert not text or allowed.rule is Rule.TERMS, hex(allowed.tag)
        assert (allowed.rule is Rule.TERMS) == bool(allowed.terms)
        assert not allowed.tag >> 16 & 1
    assert not any(allowed.tag >> 16 == 0x0016 for allowed in rules().attributes.values())
    ours = set(rules().attributes)
    patient = {tag for tag in ours if tag >> 16 == 0x0010}
    assert {rules().attributes[tag].rule for tag in patient} == {Rule.NAME, Rule.ID, Rule.EMPTY}


def test_limits_reach_the_masked_view() -> None:
    with pytest.raises((DataSetLimitExceeded, DataSetMalformed)):
        mask(explicit_element(0x00081140, b"SQ", b"\xff" * 8, 0xFFFFFFFF), EXPLICIT)
