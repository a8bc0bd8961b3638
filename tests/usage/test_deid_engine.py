"""One instance through the engine: what leaves, what is refused, in every encoding and character set."""

from __future__ import annotations

import io
import os
import re
import warnings
from datetime import date
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from dicom.data_builders import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    NATIVE,
    item,
    sequence,
    with_undefined_lengths,
)
from helpers.deid_objects import (
    KEY,
    NUMBER,
    OTHER_KEY,
    ct,
    engine,
    file_of,
    leaks,
    read,
    released,
)
from ribcage.dicom.part10 import file_prefix, split
from ribcage.dicom.scan import scan
from ribcage.usage.deid.engine import Engine
from ribcage.usage.deid.errors import NotReleased, Reason
from ribcage.usage.deid.pixels import PixelVerdict
from ribcage.usage.deid.profile import PACKAGED, Profile, packaged
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.tables import EDITION, Option

SHARED = Path(os.environ.get("RIBCAGE_DICOM_FILES", Path(__file__).parents[3] / "shared" / "data" / "dicom"))
SC = "1.2.840.10008.5.1.4.1.1.7"
WORDS = (Option.DESCRIPTORS,)
MOVED = (Option.MODIFIED_DATES,)


def _refused(data: bytes, *options: Option) -> Reason:
    with pytest.raises(NotReleased) as refusal:
        engine(*options).release(data)
    return refusal.value.reason


def _private_in_an_item() -> Dataset:
    inner = item(CodeValue="121106", CodingSchemeDesignator="DCM", CodeMeaning="Comment")
    inner.add_new(0x00090010, "LO", "LEAKED CREATOR")
    inner.add_new(0x00091001, "UN", b"LEAKED ZHANGWEI")
    inner.add_new(0x00091002, "SQ", sequence(item(PatientName="ZHANGWEI^XIAOMING")))
    return ct(ViewCodeSequence=sequence(inner), OtherPatientNames="LEAKED^ZHANGWEI")


# --- identity ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", NATIVE)
def test_nothing_of_the_identity_survives_in_any_encoding(syntax: str) -> None:
    raw = bytes(engine().release(file_of(with_undefined_lengths(_private_in_an_item()), syntax)))
    meta = split(raw)
    assert meta.transfer_syntax_uid == syntax
    assert not leaks(bytes(scan(raw, syntax, start=meta.prefix_bytes).data))
    back = dcmread(io.BytesIO(raw))
    assert back.ViewCodeSequence[0].CodeMeaning == "Comment"
    assert 0x00090010 not in back.ViewCodeSequence[0]
    assert back.PixelData == ct().PixelData or syntax == BIG


@pytest.mark.parametrize("syntax", NATIVE)
def test_kept_pixels_are_the_same_bytes(syntax: str) -> None:
    data = file_of(ct(), syntax)
    before = scan(data, syntax, start=split(data).prefix_bytes)
    after_data = bytes(engine().release(data))
    after = scan(after_data, syntax, start=split(after_data).prefix_bytes)
    assert before.bulk is not None
    assert after.bulk is not None
    assert before.value(before.bulk) == after.value(after.bulk)


def test_preamble_file_meta_and_trailing_bytes_do_not_leave() -> None:
    data = file_of(ct(), behind=bytes(6), preamble=b"II*\0 GPS LEAKED ZHANGWEI")
    raw = bytes(engine().release(data))
    assert raw[:128] == bytes(128)
    assert not leaks(raw)
    ds = ct()
    ds.add_new(0xFFFCFFFC, "OB", b"LEAKED ZHANGWEI ")
    assert not leaks(bytes(engine().release(file_of(ds))))


def test_a_foreign_title_in_the_file_meta_does_not_leave() -> None:
    body = file_of(ct())
    title = pack("<HH2sH", 2, 0x16, b"AE", 6) + b"LEAKED"
    meta = split(body).prefix_bytes
    raw = bytes(engine().release(body[:meta] + title + body[meta:]))
    assert not leaks(raw)


@pytest.mark.parametrize(
    ("charset", "name", "comment"),
    [
        ("GB18030", "张^小明", "胸部正位 张小明"),
        ("ISO_IR 192", "Zhang^Xiaoming=张^小明", "CHEST PA 小明"),
        (["", "ISO 2022 IR 58"], "Zhang^XiaoDong=张^小东", "CHEST"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "CHEST"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎", "CHEST"),
        ("ISO_IR 100", "Müller^Jürgen", "Thorax Müller"),
    ],
)
def test_names_in_each_character_set_go_and_known_words_stay(
    charset: object, name: str, comment: str
) -> None:
    ds = ct(
        SpecificCharacterSet=charset, PatientName=name, StudyDescription=comment, ReferringPhysicianName=name
    )
    ds.add_new(0x00104000, "LT", comment)
    one = engine(*WORDS).release(file_of(ds))
    parts = [part for part in re.split(r"[\^=]", name) if len(part) > 1]
    assert not leaks(bytes(one), parts)
    back = read(one)
    assert not any(part in str(element.value) for element in back for part in parts)
    assert back.StudyDescription.split()[0] in comment


def test_descriptions_keep_known_words_alone() -> None:
    ds = ct(
        StudyDescription="CT Chest w contrast for Dr. Brown, tel 138 0013 8000",
        SeriesDescription="胸部平扫 张小明 5mm",
        ProtocolName="Head^Routine (Zhangwei)",
        BodyPartExamined="CHEST",
    )
    back = released(ds, *WORDS)
    assert back.StudyDescription == "CT Chest w contrast for Dr"
    assert back.SeriesDescription == "胸部平扫 5mm"
    assert "angwei" not in back.ProtocolName
    assert back.BodyPartExamined == "CHEST"
    assert "StudyDescription" not in released(ds)


def test_a_word_that_is_the_patients_name_goes_although_it_is_known() -> None:
    ds = ct(PatientName="HEAD^JOHN", StudyDescription="HEAD CT of HEAD", ImageComments="axial")
    assert released(ds, *WORDS).StudyDescription.strip() == "CT of"


# --- pseudonyms, dates ------------------------------------------------------------------------------------


def test_a_second_run_gives_the_same_bytes_and_another_project_nothing_in_common() -> None:
    data = file_of(ct(ReferencedImageSequence=sequence()), EXPLICIT)
    first = bytes(engine(*MOVED).release(data))
    assert first == bytes(engine(*MOVED).release(data))
    one, other = read(engine(*MOVED).release(data)), read(engine(*MOVED, key=OTHER_KEY).release(data))
    uids = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    for keyword in ("PatientID", "PatientName", "StudyDate", *uids):
        assert one[keyword].value != other[keyword].value, keyword


def test_dates_of_a_patient_move_together_and_ages_end_at_ninety() -> None:
    first, second = ct(StudyDate="20240228"), ct(StudyDate="20240301", StudyInstanceUID="1.2.9")
    second.PatientAge = "093Y"
    second.AcquisitionDateTime = "20240301235959.5+0800"
    options = (*MOVED, Option.PATIENT)
    one, other = released(first, *options), released(second, *options)

    def day(text: str) -> date:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))

    assert (day(other.StudyDate) - day(one.StudyDate)).days == 2
    assert day(one.StudyDate) < date(2024, 2, 28)
    assert other.AcquisitionDateTime == other.StudyDate + "235959.5"
    assert (one.PatientAge, other.PatientAge) == ("059Y", "090Y")
    assert one.LongitudinalTemporalInformationModified == "MODIFIED"
    assert released(first, Option.FULL_DATES).StudyDate == "20240228"
    assert released(first).StudyDate == ""


@pytest.mark.parametrize(
    ("age", "told"), [("089Y", "089Y"), ("090Y", "090Y"), ("999M", "999M"), ("120Y", "090Y")]
)
def test_an_age_over_89_is_90(age: str, told: str) -> None:
    assert released(ct(PatientAge=age), Option.PATIENT).PatientAge == told


def test_references_between_ct_sr_and_segmentation_stay_whole() -> None:
    slice_ = ct()
    reference = item(ReferencedSOPClassUID=slice_.SOPClassUID, ReferencedSOPInstanceUID=slice_.SOPInstanceUID)
    report = _report(
        item(RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=sequence(reference))
    )
    segmentation = ct(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4",
        SOPInstanceUID="1.2.3.77",
        Modality="SEG",
        ReferencedSeriesSequence=sequence(
            item(SeriesInstanceUID=slice_.SeriesInstanceUID, ReferencedInstanceSequence=sequence(reference))
        ),
    )
    options = (Option.STRUCTURED,)
    image, sr, seg = released(slice_, *options), released(report, *options), released(segmentation, *options)
    assert sr.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == image.SeriesInstanceUID
    assert referenced.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert referenced.ReferencedInstanceSequence[0].ReferencedSOPClassUID == slice_.SOPClassUID
    assert image.PatientID == sr.PatientID == seg.PatientID
    assert image.FrameOfReferenceUID == seg.FrameOfReferenceUID


def test_two_empty_patient_ids_are_not_one_patient() -> None:
    one, other = released(ct(PatientID="")), released(ct(PatientID="UNKNOWN", StudyInstanceUID="1.2.8"))
    assert one.PatientID != other.PatientID


# --- structured reports -----------------------------------------------------------------------------------


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _report(*items: Dataset) -> Dataset:
    ds = ct(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33",
        SOPInstanceUID="1.2.3.55",
        Modality="SR",
        ValueType="CONTAINER",
    )
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelSpacing"):
        delattr(ds, keyword)
    ds.ConceptNameCodeSequence = sequence(_code("11528-7", "LN", "Radiology Report"))
    ds.ContentSequence = sequence(*items)
    ds.VerifyingObserverSequence = sequence(
        item(VerifyingObserverName="LEAKED^ZHANGWEI", VerificationDateTime="2024")
    )
    return ds


def _text(code: Dataset, text: str, **more: object) -> Dataset:
    return item(
        RelationshipType="CONTAINS",
        ValueType="TEXT",
        ConceptNameCodeSequence=sequence(code),
        TextValue=text,
        **more,
    )


def test_a_report_keeps_codes_and_numbers_and_loses_names() -> None:
    number = item(
        RelationshipType="CONTAINS",
        ValueType="NUM",
        ConceptNameCodeSequence=sequence(_code("121206", "DCM", "Distance")),
        MeasuredValueSequence=sequence(
            item(NumericValue="12.5", MeasurementUnitsCodeSequence=sequence(_code("mm", "UCUM", "mm")))
        ),
    )
    name = item(
        RelationshipType="HAS OBS CONTEXT",
        ValueType="PNAME",
        ConceptNameCodeSequence=sequence(_code("121008", "DCM", "Person Observer Name")),
        PersonName="LEAKED^ZHANGWEI",
    )
    finding = _text(_code("121071", "DCM", "Finding"), "nodule in the left upper lung of ZHANGWEI")
    local = _text(_code("77", "99LEAKED", "LEAKED"), "LEAKED")
    raw = engine(Option.STRUCTURED, *WORDS).release(file_of(_report(number, name, finding, local)))
    assert not leaks(bytes(raw))
    told = read(raw).ContentSequence
    assert told[0].MeasuredValueSequence[0].NumericValue == 12.5
    assert told[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    findings = [one.TextValue for one in told if one.ValueType == "TEXT"]
    assert findings[0].startswith("nodule in") and "left upper lung" in findings[0]


def test_without_the_option_the_tree_is_one_item_that_says_so() -> None:
    back = released(_report(_text(_code("121071", "DCM", "Finding"), "LEAKED")))
    assert [one.TextValue for one in back.ContentSequence] == ["REMOVED"]


def test_items_referred_to_by_position_are_emptied_not_removed() -> None:
    gone = _text(_code("121022", "DCM", "Accession Number"), "LEAKED 77")
    pointer = item(RelationshipType="SELECTED FROM", ReferencedContentItemIdentifier=[1, 1])
    back = released(_report(gone, pointer), Option.STRUCTURED)
    assert len(back.ContentSequence) == 2
    assert back.ContentSequence[0].TextValue == "REMOVED"
    assert (
        len(
            released(
                _report(gone, _text(_code("121071", "DCM", "Finding"), "x")), Option.STRUCTURED
            ).ContentSequence
        )
        == 1
    )


@pytest.mark.parametrize(
    ("value", "scheme", "meaning", "kept"),
    [
        ("80891009", "SCT", "Heart", True),
        ("80891008", "SCT", "Heart", False),  # the check digit is wrong
        ("T-D3000", "SRT", "Chest", True),
        ("13800138000", "99LOCAL", "Zhang", False),
        ("11528-7", "LN", "Radiology Report", True),
        ("11528-8", "LN", "Radiology Report", False),
    ],
)
def test_codes_stay_when_their_scheme_can_tell(value: str, scheme: str, meaning: str, kept: bool) -> None:
    back = released(ct(AnatomicRegionSequence=sequence(_code(value, scheme, meaning))))
    code = back.AnatomicRegionSequence[0]
    assert (code.CodeValue == value) is kept
    assert code.CodeMeaning == (meaning if kept else "Removed")


def test_a_meaning_with_a_name_in_it_becomes_the_code() -> None:
    back = released(ct(AnatomicRegionSequence=sequence(_code("80891009", "SCT", "Heart of LEAKED"))))
    assert "LEAKED" not in back.AnatomicRegionSequence[0].CodeMeaning


# --- unknown is denied ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00091001, "LO", "LEAKED"),
        (0x00081190, "UR", "http://LEAKED"),
        (0x0040E010, "UR", "http://LEAKED"),
        (0x00189999, "LO", "LEAKED"),  # no such attribute
        (0x00189999, "UN", b"LEAKED"),
        (0x60000022, "LO", "LEAKED"),  # overlay description
        (0x50002500, "LO", "LEAKED"),  # curve label
        (0x00080070, "LO", "LEAKED CO"),  # a manufacturer that nobody knows
        (0x00102201, "LO", "LEAKED"),
        (0x00100033, "LO", "LEAKED"),
        (0x04000561, "SQ", [item(ModifiedAttributesSequence=sequence(item(PatientName="LEAKED")))]),
        (0xFFFAFFFA, "SQ", [item(DigitalSignatureUID="1.2.3.6", CertificateOfSigner=b"LEAKED")]),
        (0x00880200, "SQ", [item(ImageComments="LEAKED")]),
    ],
)
def test_what_the_table_does_not_name_or_removes_is_not_there(tag: int, vr: str, value: object) -> None:
    ds = ct()
    ds.add_new(tag, vr, value)
    one = engine(*(set(Option) - {Option.FULL_DATES, Option.PIXELS, Option.VISUAL})).release(file_of(ds))
    assert not leaks(bytes(one))
    assert tag not in read(one) or read(one)[tag].value in ("", "REMOVED")


def test_a_name_in_a_number_is_no_number() -> None:
    ds = ct()
    data = file_of(ds)
    spacing = b"0.15\\0.15 "
    assert spacing in data
    assert _refused(data.replace(spacing, b"ZHANGWEI  ")) is Reason.NO_SAFE_VALUE
    assert not leaks(
        bytes(engine().release(file_of(ct(TableHeight="7.5")).replace(b"7.5 ", b"ZHAN"))), ("ZHAN",)
    )
    number = file_of(ct(KVP="7734215"))
    assert not leaks(bytes(engine().release(number)), ("7734215",))
    intercept = file_of(ct(RescaleIntercept="7734215", RescaleSlope="1"))
    assert _refused(intercept) is Reason.NO_SAFE_VALUE  # nobody makes up what pixels mean


def test_a_false_vr_does_not_help() -> None:
    ds = ct(KVP="120")
    data = file_of(ds).replace(pack("<HH2s", 0x18, 0x60, b"DS"), pack("<HH2s", 0x18, 0x60, b"LO"))
    assert "KVP" not in read(engine().release(data)) or not read(engine().release(data)).KVP


def test_safe_private_stays_by_creator_alone() -> None:
    ds = ct()
    ds.add_new(0x70530010, "LO", "Philips PET Private Group")
    ds.add_new(0x70531000, "DS", "0.00123")
    ds.add_new(0x70531001, "LO", "LEAKED")
    ds.add_new(0x70530011, "LO", "SOMEBODY ELSE")
    ds.add_new(0x70531100, "DS", "77")
    back = released(ds, Option.SAFE_PRIVATE)
    assert back[0x70531000].value == 0.00123
    assert {one.tag for one in back if one.tag.is_private} == {0x70530010, 0x70531000}
    assert not {tag for tag in released(ds) if tag.is_private}


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=80),
    st.integers(0x0008, 0x0060),
    st.integers(1, 0xFFFF),
    st.sampled_from(["LO", "UT", "UN", "SH", "OB"]),
)
def test_no_bytes_of_an_unknown_place_leave(value: bytes, group: int, number: int, vr: str) -> None:
    secret = b"<" + value.hex().encode() + b"SECRET>"
    ds = ct()
    tag = (group & ~1) << 16 | number
    if tag in ds or tag in (0x00080001,) or number == 0:
        return
    head = file_of(ds)
    at = split(head).prefix_bytes
    scanned = scan(head, EXPLICIT, start=at)
    place = next((one.start for one in scanned.elements if one.tag > tag), scanned.elements_end)
    long = vr in ("UT", "UN", "OB")
    secret += b" " * (len(secret) & 1)
    element = pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode()) + (
        pack("<HI", 0, len(secret)) if long else pack("<H", len(secret))
    )
    try:
        raw = bytes(engine().release(head[:place] + element + secret + head[place:]))
    except NotReleased:
        return
    assert b"SECRET>" not in raw


# --- refusals ---------------------------------------------------------------------------------------------


def test_what_is_damaged_or_contradicts_itself_is_refused() -> None:
    data = file_of(ct())
    assert _refused(data[:-9]) is Reason.MALFORMED
    assert _refused(b"no picture at all, and no DICOM") is Reason.NO_DICOM
    assert _refused(b"") is Reason.NO_DICOM
    other = ct(SOPInstanceUID="1.2.3.5")
    at = split(data).prefix_bytes
    assert _refused(data[:at] + file_of(other)[split(file_of(other)).prefix_bytes :]) is Reason.CONTRADICTORY
    short = ct()
    short.Rows = 400
    assert _refused(file_of(short)) is Reason.PIXEL_LAYOUT
    long = ct()
    long.PixelData += b"LEAKED ZHANGWEI!"
    assert _refused(file_of(long)) is Reason.PIXEL_LAYOUT
    assert _refused(file_of(ct(SOPClassUID="1.2.3.4.5"))) is Reason.CLASS_UNKNOWN
    assert _refused(file_of(ct(StudyInstanceUID=""))) is Reason.IDENTITY_MISSING


def test_a_patient_id_given_twice_is_refused() -> None:
    data = file_of(ct())
    element = pack("<HH2sH", 0x10, 0x20, b"LO", 10) + NUMBER.encode() + b" "
    assert element in data
    assert (
        _refused(data.replace(element, element + element.replace(b"RB77", b"RB88"))) is Reason.CONTRADICTORY
    )


def test_pixels_that_may_carry_text_are_refused_until_somebody_reads_them() -> None:
    burned = file_of(ct(BurnedInAnnotation="YES"))
    screen = file_of(ct(SOPClassUID=SC, Modality="OT", ConversionType="WSD"))
    for data in (burned, screen, file_of(ct(ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"]))):
        assert _refused(data) is Reason.BURNED_IN_TEXT
        out = read(Engine(Profile("test", unread="release"), Pseudonyms(KEY)).release(data))
        assert out.get("BurnedInAnnotation") != "NO"
        assert "113101" not in [code.CodeValue for code in out.DeidentificationMethodCodeSequence]
    assert read(engine(unread="release").release(burned)).BurnedInAnnotation == "YES"
    clean = read(engine(reader=lambda _: PixelVerdict.NO_TEXT).release(screen))
    assert clean.BurnedInAnnotation == "NO"
    assert "113101" in [code.CodeValue for code in clean.DeidentificationMethodCodeSequence]
    with pytest.raises(NotReleased) as refusal:
        engine(unread="release", reader=lambda _: PixelVerdict.TEXT).release(file_of(ct()))
    assert refusal.value.reason is Reason.TEXT_IN_PIXELS
    assert _refused(file_of(ct()), Option.PIXELS) is Reason.BURNED_IN_TEXT
    assert _refused(file_of(ct()), Option.VISUAL) is Reason.VISUAL_FEATURES


def test_documents_become_an_empty_page_or_are_refused() -> None:
    ds = _report()
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.104.1", "DOC"
    ds.EncapsulatedDocument, ds.MIMETypeOfEncapsulatedDocument = (
        b"%PDF-1.7 LEAKED ZHANGWEI",
        "application/pdf",
    )
    ds.DocumentTitle, ds.EncapsulatedDocumentLength = "LEAKED", 24
    one = engine().release(file_of(ds))
    assert not leaks(bytes(one))
    page = read(one).EncapsulatedDocument
    assert "EncapsulatedDocumentLength" not in read(one)
    assert page.startswith(b"%PDF-1.4")
    table = page.index(b"xref\n")
    assert f"startxref\n{table}\n".encode() in page
    for number, place in enumerate(re.findall(rb"(\d{10}) 00000 n", page), 1):
        assert page[int(place) :].startswith(f"{number} 0 obj".encode())
    ds.MIMETypeOfEncapsulatedDocument = "text/XML"
    assert _refused(file_of(ds)) is Reason.DOCUMENT


# --- pixels -----------------------------------------------------------------------------------------------


def _jpeg(*, comment: bytes = b"") -> bytes:
    target = io.BytesIO()
    Image.new("L", (16, 16), 80).save(target, "JPEG", comment=comment)
    return target.getvalue()


def test_text_inside_compressed_frames_goes_and_the_picture_stays() -> None:
    ds = ct(Rows=16, Columns=16, BitsAllocated=8, BitsStored=8, HighBit=7, LossyImageCompression="01")
    frame = _jpeg(comment=b"LEAKED ZHANGWEI 13800138000")
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    one = engine().release(file_of(ds, JPEG))
    assert not leaks(bytes(one))
    back = read(one)
    shown = next(generate_frames(back.PixelData, number_of_frames=1))
    assert Image.open(io.BytesIO(shown)).tobytes() == Image.open(io.BytesIO(frame)).tobytes()
    clean = _jpeg()
    ds.PixelData = encapsulate([clean])
    ds["PixelData"].is_undefined_length = True
    assert read(engine().release(file_of(ds, JPEG))).PixelData[:8] == ds.PixelData[:8]


def test_an_overlay_in_the_high_bits_of_the_pixels_is_cleared() -> None:
    ds = ct()
    clean = bytes(value & (0xFF if place % 2 == 0 else 0x0F) for place, value in enumerate(range(32)))
    ds.PixelData = clean
    assert read(engine().release(file_of(ds))).PixelData == clean
    ds.PixelData = bytes(value | (0x50 if place % 2 else 0) for place, value in enumerate(clean))
    assert read(engine().release(file_of(ds))).PixelData == clean
    ds.PixelRepresentation = 1
    extended = bytes([0x00, 0xF8] * 16)
    ds.PixelData = extended
    assert read(engine().release(file_of(ds))).PixelData == extended


# --- markers and profiles ---------------------------------------------------------------------------------


def test_the_output_says_what_was_done() -> None:
    ds = ct(
        PatientIdentityRemoved="NO",
        DeidentificationMethod="LEAKED",
        LongitudinalTemporalInformationModified="UNMODIFIED",
    )
    back = released(ds, Option.DEVICE)
    assert back.PatientIdentityRemoved == "YES"
    assert EDITION in back.DeidentificationMethod
    assert [code.CodeValue for code in back.DeidentificationMethodCodeSequence] == ["113100", "113109"]
    assert back.LongitudinalTemporalInformationModified == "REMOVED"
    assert back.file_meta.MediaStorageSOPInstanceUID == back.SOPInstanceUID


@pytest.mark.parametrize("name", PACKAGED)
def test_each_profile_is_readable_and_works(name: str) -> None:
    one = Engine(packaged(name), Pseudonyms(KEY)).release(file_of(_private_in_an_item()), trace=True)
    assert not leaks(bytes(one))
    assert {"SOPInstanceUID", "PatientName"} <= {step.keyword for step in one.trace}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared files are not here")
@pytest.mark.parametrize("name", PACKAGED)
def test_every_shared_file_is_released_or_refused_with_a_reason(name: str) -> None:
    one, counted = Engine(packaged(name), Pseudonyms(KEY)), 0
    for path in sorted(SHARED.glob("*.dcm")):
        data = path.read_bytes()
        try:
            out = one.release(data)
        except NotReleased as refusal:
            assert refusal.reason in Reason
            continue
        counted += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the files' own faults, as pydicom sees them
            before, after = dcmread(io.BytesIO(data), force=True), dcmread(io.BytesIO(bytes(out)))
            name_before = str(before.get("PatientName", "")).strip()
            list(after.iterall())
        if len(name_before) > 5:
            assert name_before.encode() not in bytes(out)
        syntax = split(data).transfer_syntax_uid
        if "PixelData" in before and syntax in (EXPLICIT, IMPLICIT, DEFLATED, BIG):
            assert len(before.PixelData) == len(after.PixelData)
    assert counted > 10


def test_the_prefix_is_our_own() -> None:
    raw = bytes(engine().release(file_of(ct())))
    back = read(engine().release(file_of(ct())))
    assert raw.startswith(file_prefix(str(back.SOPClassUID), str(back.SOPInstanceUID), EXPLICIT))
