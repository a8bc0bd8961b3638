"""The patient written into what the masked view made: every encoding and character set, and nothing else changed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from dicom.data_builders import BIG, DEFLATED, EXPLICIT, IMPLICIT, NATIVE, decode, encode
from helpers.reports import COMMENT, image, report
from ribcage.capture.errors import NotUnderstood
from ribcage.capture.saving import references, write_patient
from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.scan import DEFAULT_LIMITS, scan
from ribcage.guard.protocol import PatientModule

STUDY, SERIES, FILM = "1.2.3", "1.2.3.4", "1.2.3.4.5"
ON = "20260102+0000"
LI = PatientModule(
    patient_id="P-1",
    issuer_of_patient_id="HOSPITAL",
    patient_name="Li^Ming=李^明",
    patient_birth_date="19700101",
    patient_sex="F",
    study_date="20250102",
    study_time="101500",
    accession_number="A-1",
    study_id="1",
    study_description="胸片",
    referring_physician_name="Zhao^Yi",
)
SMITH = PatientModule("P-2", "", "Smith^Ann", "", "", "", "", "", "", "", "")
_TAKEN = {
    "PatientID": "patient_id",
    "PatientBirthDate": "patient_birth_date",
    "PatientSex": "patient_sex",
    "StudyDate": "study_date",
    "StudyTime": "study_time",
    "AccessionNumber": "accession_number",
    "StudyID": "study_id",
    "PatientName": "patient_name",
    "ReferringPhysicianName": "referring_physician_name",
}


def masked() -> Dataset:
    return report(STUDY, SERIES, (FILM,), "Masked^1a2b3c", "MASKED-1a2b3c")


def written(data: Dataset, patient: PatientModule = LI, syntax: str = EXPLICIT) -> Dataset:
    """The object after the splice, as another reader sees it."""
    scanned = scan(encode(data, syntax), syntax)
    return decode(b"".join(write_patient(scanned, patient, ON, DEFAULT_LIMITS)), syntax)


def assert_taken(found: Dataset, patient: PatientModule) -> None:
    for keyword, field in _TAKEN.items():
        assert str(found[keyword].value) == getattr(patient, field), keyword
    assert found.get("IssuerOfPatientID", "") == patient.issuer_of_patient_id
    assert found.get("StudyDescription", "") == patient.study_description


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("patient", [LI, SMITH], ids=["chinese", "latin"])
def test_the_patient_stands_in_it_and_the_rest_is_unchanged(syntax: str, patient: PatientModule) -> None:
    data = masked()
    before = decode(encode(data, syntax), syntax)
    found = written(data, patient, syntax)
    assert_taken(found, patient)
    tags = {element.tag for element in found}
    assert [each.tag for each in found] == sorted(tags)  # in order, each once
    own = {before[each].tag for each in _TAKEN}
    for element in before:
        if element.tag not in own:
            assert found[element.tag] == element, element.tag


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_what_was_replaced_is_traced_beside_older_traces(syntax: str) -> None:
    data = masked()
    older = Dataset()
    older.ModifiedAttributesSequence = [Dataset()]
    older.AttributeModificationDateTime, older.ModifyingSystem = "20250101", "Elsewhere"
    older.SourceOfPreviousValues, older.ReasonForTheAttributeModification = "", "CORRECT"
    data.OriginalAttributesSequence = [older]
    found = written(data, LI, syntax).OriginalAttributesSequence
    assert [each.ModifyingSystem for each in found] == ["Elsewhere", "Ribcage"]
    ours = found[1]
    assert (ours.AttributeModificationDateTime, ours.ReasonForTheAttributeModification) == (ON, "COERCE")
    former = ours.ModifiedAttributesSequence[0]
    assert (former.PatientName, former.PatientID) == ("Masked^1a2b3c", "MASKED-1a2b3c")
    assert former.StudyDate == ""


def test_other_attributes_of_the_patient_and_claims_of_anonymity_go() -> None:
    data = masked()
    data.OtherPatientIDs, data.PatientComments, data.PatientAge = "P-9", "of a stranger", "040Y"
    data.OtherPatientIDsSequence = [Dataset()]
    data.OtherPatientIDsSequence[0].PatientID = "P-9"
    data.PatientIdentityRemoved, data.DeidentificationMethod = "YES", "by a viewer"
    found = written(data)
    for keyword in ("OtherPatientIDs", "PatientComments", "PatientAge", "OtherPatientIDsSequence"):
        assert keyword not in found
        assert keyword in found.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert "PatientIdentityRemoved" not in found
    assert "DeidentificationMethod" not in found


@pytest.mark.parametrize("charset", ["GB18030", "GBK", "ISO_IR 192"])
def test_a_name_that_fits_the_character_set_leaves_it(charset: str) -> None:
    data = masked()
    data.SpecificCharacterSet = charset
    data.ContentSequence[0].TextValue = "长度 5 mm"
    found = written(data)
    assert found.SpecificCharacterSet == charset
    assert found.ContentSequence[0].TextValue == "长度 5 mm"
    assert_taken(found, LI)


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("ISO_IR 100", "Länge"),
        ("ISO_IR 144", "Длина"),
        (["", "ISO 2022 IR 149"], "\u00a0길이"),
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "長さ"),
    ],
)
def test_a_name_that_does_not_fit_makes_all_of_it_utf_8(charset: str | list[str], text: str) -> None:
    text = text.strip("\u00a0")
    data = masked()
    data.SpecificCharacterSet = charset
    data.ContentSequence[0].TextValue = text
    found = written(data)
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.ContentSequence[0].TextValue == text
    assert_taken(found, LI)


def test_an_item_with_a_character_set_of_its_own_becomes_utf_8_too() -> None:
    data = masked()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.ContentSequence[0].TextValue = "Länge"
    item = data.ContentSequence[1]
    item.SpecificCharacterSet = "ISO_IR 144"
    item.ConceptNameCodeSequence = [Dataset()]
    item.ConceptNameCodeSequence[0].CodeMeaning = "Длина"
    found = written(data).ContentSequence
    assert found[0].TextValue == "Länge"
    assert "SpecificCharacterSet" not in found[1]
    assert found[1].ConceptNameCodeSequence[0].CodeMeaning == "Длина"


def test_an_ascii_name_changes_no_character_set() -> None:
    data = masked()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.ContentSequence[0].TextValue = "Länge"
    found = written(data, SMITH)
    assert (found.SpecificCharacterSet, found.ContentSequence[0].TextValue) == ("ISO_IR 100", "Länge")


def test_text_that_is_not_in_its_character_set_is_refused() -> None:
    raw = encode(masked(), EXPLICIT).replace(b"ISO_IR 192", b"ISO_IR 126")
    raw = raw.replace(COMMENT.encode(), b"\xae\xff\xd2" * 4 + b"    ")  # no letters of ISO 8859-7
    with pytest.raises(DataSetMalformed):
        write_patient(scan(raw, EXPLICIT), LI, ON, DEFAULT_LIMITS)


def test_references_are_found_wherever_they_stand() -> None:
    data = masked()
    data.ContentSequence[1].ContentSequence = [Dataset()]
    data.ContentSequence[1].ContentSequence[0].ReferencedSOPSequence = [image("1.2.9")]
    step = Dataset()
    step.ReferencedSOPClassUID, step.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.3", "1.2.8"
    data.ReferencedPerformedProcedureStepSequence = [step]
    assert references(scan(encode(data, EXPLICIT), EXPLICIT)) == ({STUDY}, {FILM, "1.2.9"})


def test_a_reference_that_hides_in_un_is_refused() -> None:
    hidden = encode(_evidence_alone(), IMPLICIT)[8:]
    head = b"\x40\x00\x85\xa3UN\0\0" + len(hidden).to_bytes(4, "little")
    raw = encode(masked(), EXPLICIT)
    at = raw.index(b"\x40\x00\x91\xa4") if b"\x40\x00\x91\xa4" in raw else raw.index(b"\x40\x00\x30\xa7SQ")
    with pytest.raises(NotUnderstood):
        references(scan(raw[:at] + head + hidden + raw[at:], EXPLICIT))


def _evidence_alone() -> Dataset:
    data = Dataset()
    data.PertinentOtherEvidenceSequence = masked().CurrentRequestedProcedureEvidenceSequence
    return data


_texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\\^=\u00a0"), max_size=16)


@settings(deadline=None, max_examples=60)
@given(_texts, _texts, st.sampled_from(["", "ISO_IR 100", "GB18030", "ISO_IR 192"]))
def test_every_name_survives_beside_every_comment(name: str, comment: str, charset: str) -> None:
    name, comment = name.strip(), comment.strip()
    data = masked()
    codec = {"ISO_IR 100": "latin_1", "": "ascii"}.get(charset)
    if codec is not None:
        comment = comment.encode(codec, "ignore").decode(codec).strip()
    data.SpecificCharacterSet = charset
    data.ContentSequence[0].TextValue = comment
    found = written(data, PatientModule("P", "", name, "", "", "", "", "", "", "", ""))
    assert str(found.PatientName) == name
    assert str(found.ContentSequence[0].TextValue or "") == comment
