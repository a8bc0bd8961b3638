"""The made-up studies: repeatable, valid, nobody's; and the film keeps its pixels."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from ribcage.oversight.drill.attackers.dicom import split_file
from ribcage.oversight.studies import (
    check_digit,
    film_identity,
    generate,
    load_film,
    make_identity,
    make_study,
    seed_film,
)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert make_study(4, 9).file == make_study(4, 9).file
    assert make_study(4, 9).file != make_study(5, 9).file
    assert [one.file for one in generate(4, 3)][2] == make_study(4, 2).file


@pytest.mark.parametrize(("number", "digit"), [("11010519491231002", "X"), ("44052418800101001", "4")])
def test_check_digit_as_in_the_examples_of_gb_11643(number: str, digit: str) -> None:
    assert check_digit(number) == digit


def test_no_id_number_can_be_a_living_persons() -> None:
    for ordinal in range(200):
        person = make_identity(1, ordinal)
        assert len(person.id_number) == 18
        assert person.id_number.startswith("99")  # no such region
        assert person.id_number[6:14] == person.birth_date
        assert person.id_number[17] == check_digit(person.id_number[:17])
        assert person.telephone.startswith("100")


def test_a_generated_file_is_sound_dicom_with_the_identity_everywhere() -> None:
    study = make_study(2, 5)
    data = dcmread(io.BytesIO(study.file))
    person = study.identity
    assert str(data.PatientName) == person.person_name
    assert str(data.GPSLatitude) == person.latitude
    assert data[0x0019, 0x1001].value == person.id_number
    assert str(data[0x0019, 0x1002].value) == person.person_name
    assert data.pixel_array.shape == (24, 24)


def test_the_film_keeps_pixels_and_transfer_syntax() -> None:
    before = load_film()
    study = seed_film(load_film(), film_identity(1))
    after = dcmread(io.BytesIO(study.file))
    assert after.PixelData == before.PixelData
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert str(after.PatientName) == "Wang^Wangshu=王^望舒"
    assert b"CompressedSamples" not in study.file


def test_the_attackers_parser_agrees_with_pydicom() -> None:
    study = make_study(2, 6)
    file = split_file(study.file)
    assert (file.sop_class, file.sop_instance) == (study.sop_class_uid, study.instance_uid)
    assert file.syntax == ExplicitVRLittleEndian
    assert study.file.endswith(file.data)
