"""Code strings that PS3.3 lists stay; measures are no identifiers; texts keep the length of their VR."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from helpers.deid_objects import ct, released
from ribcage.dicom.dictionary import vr_of
from ribcage.usage.deid.fitting import leading_terms, shortened
from ribcage.usage.deid.tables import Option, enumerated


@pytest.mark.parametrize("tag", enumerated(), ids=hex)
def test_every_listed_term_stays_and_another_does_not(tag: int) -> None:
    assert vr_of(tag) == "CS"
    for term in enumerated()[tag]:
        assert leading_terms(tag, term.encode()) == (term.encode(), True)
    assert leading_terms(tag, b"ZHANGWEI") == (b"", True)


def test_a_sex_that_is_somebodys_initial_stays() -> None:
    back = released(ct(OperatorsName="WANG^M", PatientSex="M"), Option.PATIENT)
    assert back.PatientSex == "M"


@pytest.mark.parametrize(("value", "kept"), [("14.123456", True), ("123456", False), ("123456.5", False)])
def test_digits_of_an_identifier_are_a_measure_behind_the_point_alone(value: str, kept: bool) -> None:
    back = released(ct(PatientID="RB123456", ExposureTimeInuS=value))
    assert ("ExposureTimeInuS" in back) == kept


@pytest.mark.parametrize("vr", ["LO", "SH"])
def test_a_text_is_cut_between_words(vr: str) -> None:
    text = "chest lateral " * 9
    most = {"LO": 64, "SH": 16}[vr]
    assert len(shortened(text, vr)) <= most
    assert set(shortened(text, vr).split()) <= {"chest", "lateral"}


def test_uids_that_the_table_does_not_let_stay_go_under_retain_uids() -> None:
    ds = ct(DigitalSignatureUID="1.2.840.99.7734215")
    back = released(ds, Option.UIDS)
    assert back.SOPInstanceUID == ds.SOPInstanceUID
    assert back.get("DigitalSignatureUID") != ds.DigitalSignatureUID


def test_a_device_date_moves_with_the_others() -> None:
    ds = ct(StudyDate="20210314", DateOfLastCalibration="20210313", DeviceSerialNumber="SN-4882")
    back = released(ds, Option.DEVICE, Option.MODIFIED_DATES)
    assert back.DeviceSerialNumber == "SN-4882"
    assert back.DateOfLastCalibration != "20210313"


def test_a_person_code_becomes_an_item_that_says_nothing() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "4711", "99STAFF", "LEAKED"
    back = released(ct(PersonIdentificationCodeSequence=[code]))
    assert [each.CodeValue for each in back.PersonIdentificationCodeSequence] == ["REMOVED"]
