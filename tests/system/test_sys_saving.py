"""Measurements saved by STOW-RS: from the masked view under their study's patient, from the full view as they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from helpers.archive import Archive, Browser, Reply, new_archive, parts
from helpers.reports import COMMENT, file_of, report, uid
from ribcage.guard import protocol as p
from ribcage.oversight.studies import Study, make_study
from ribcage.usage.pseudonyms import masked_id, masked_name
from system.senders import SUCCESS, instance_of, send, stow

MINE, SEEN, FOREIGN = (make_study(61, number) for number in (1, 2, 3))
_numbers = itertools.count(1)


def _earlier() -> bytes:
    """An earlier study of the patient of `MINE`."""
    data, whose = dcmread(BytesIO(make_study(61, 4).file)), MINE.identity
    data.PatientID, data.PatientName, data.StudyDate = whose.patient_id, whose.person_name, "20200102"
    file = BytesIO()
    data.save_as(file)
    return file.getvalue()


PRIOR = instance_of(_earlier())


@dataclass
class Desk:
    """A doctor with a right to two studies of three, who has proved a password alone."""

    archive: Archive
    name: str
    doctor: Browser

    def parked(self) -> int:
        return len(self.archive.ask(p.ParkedPage(start=0, count=1000), p.ParkedItems).items)

    def listed(self, study: Study) -> int:
        """Instances of a study as the session's own list has them."""
        found = self.doctor.request(f"/dicom-web/studies/{study.study_uid}/instances").json()
        assert isinstance(found, list)
        return len(found)

    def events(self) -> str:
        page = self.archive.ask(p.AuditPage(start=0, count=1000), p.AuditEntries)
        return "\n".join(text for _, text in page.entries)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("archive")) as running:
        station = running.device("cr1", "CR1", "store")
        films = [*(instance_of(each.file) for each in (MINE, SEEN, FOREIGN)), PRIOR]
        assert [send(running, station, each) for each in films] == [SUCCESS] * 4
        yield running


@pytest.fixture
def desk(archive: Archive) -> Desk:
    name = f"li{next(_numbers)}"
    doctor = archive.person(name, "clinician")
    for each in (MINE, SEEN):
        archive.grant(f"person:{name}", f"study:{each.study_uid}", "full")
    return Desk(archive, name, doctor)


def masked_report(study: Study, *instances: str) -> Dataset:
    """What a viewer makes of a masked study."""
    name, identifier = masked_name(study.study_uid), masked_id(study.study_uid)
    return report(study.study_uid, study.series_uid, instances or (study.instance_uid,), name, identifier)


def full_report(study: Study, whose: Study) -> Dataset:
    """What a viewer makes of a study in the full view, in the name of `whose` patient."""
    data = report(study.study_uid, study.series_uid, (study.instance_uid,), "", whose.identity.patient_id)
    data.PatientName, data.IssuerOfPatientID = whose.identity.person_name, "RIBCAGE DEMO"
    return data


def fetched(desk: Desk, data: Dataset) -> Dataset:
    """The saved object as the session sees it."""
    place = f"studies/{data.StudyInstanceUID}/series/{data.SeriesInstanceUID}/instances/{data.SOPInstanceUID}"
    reply = desk.doctor.retrieve(place)
    assert reply.status == 200
    return dcmread(BytesIO(parts(reply)[0]))


def tells(reply: Reply, study: Study) -> list[str]:
    """Which of the patient's texts stand in an answer, head or body."""
    text = str(reply.headers).encode() + reply.body
    return [each for each in study.identity.needles() if each.encode() in text]


def test_a_measurement_of_the_masked_view_takes_the_patient_of_its_study(desk: Desk) -> None:
    data = masked_report(MINE)
    before = desk.parked()
    answer = stow(desk.doctor, file_of(data))
    assert answer.status == 202
    stored = answer.json()["00081199"]["Value"][0]
    assert stored["00081155"]["Value"] == [data.SOPInstanceUID]
    assert stored["00081196"]["Value"] == [0xB000]
    assert tells(answer, MINE) == []
    assert desk.parked() == before
    # The masked view does not show it: its class has no rule.
    place = f"studies/{MINE.study_uid}/series/{data.SeriesInstanceUID}"
    refused = desk.doctor.retrieve(place)
    assert (refused.status, refused.headers["x-ribcage-step-up"]) == (403, "totp")
    assert tells(refused, MINE) == []

    assert desk.doctor.step_up().status == 200
    saved = fetched(desk, data)
    film = dcmread(BytesIO(MINE.file))
    for keyword in (
        *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyDate"),
        *("StudyTime", "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName"),
    ):
        assert saved[keyword].value == film[keyword].value, keyword
    assert saved.SpecificCharacterSet == "ISO_IR 192"
    assert saved.ContentSequence[0].TextValue == COMMENT
    trace = saved.OriginalAttributesSequence[0]
    assert trace.ReasonForTheAttributeModification == "COERCE"
    assert trace.ModifiedAttributesSequence[0].PatientID == masked_id(MINE.study_uid)
    assert "derivation-allowed" in desk.events()


def test_sent_again_it_is_held_already(desk: Desk) -> None:
    file = file_of(masked_report(MINE))
    before = desk.parked()
    assert [stow(desk.doctor, file).status for _ in range(2)] == [202, 202]
    assert desk.parked() == before


def test_a_measurement_of_the_full_view_is_stored_bit_for_bit(desk: Desk) -> None:
    assert desk.doctor.step_up().status == 200
    data = full_report(MINE, MINE)
    file = file_of(data)
    assert stow(desk.doctor, file).status == 200
    place = f"studies/{MINE.study_uid}/series/{data.SeriesInstanceUID}"
    assert parts(desk.doctor.retrieve(place)) == [file]


def test_a_viewer_that_leaves_the_issuer_out_is_understood(desk: Desk) -> None:
    assert desk.doctor.step_up().status == 200
    before, listed = desk.parked(), desk.listed(MINE)
    data, other = full_report(MINE, MINE), full_report(MINE, MINE)
    del data.IssuerOfPatientID
    other.IssuerOfPatientID = "ELSEWHERE"
    assert [stow(desk.doctor, file_of(each)).status for each in (data, other)] == [200, 200]
    assert (desk.parked(), desk.listed(MINE)) == (before + 1, listed + 1)


def test_another_patients_name_from_the_full_view_is_parked(desk: Desk) -> None:
    assert desk.doctor.step_up().status == 200
    before, listed = desk.parked(), desk.listed(MINE)
    assert stow(desk.doctor, file_of(full_report(MINE, FOREIGN))).status == 200
    assert (desk.parked(), desk.listed(MINE)) == (before + 1, listed)


def test_whoever_sees_a_study_masked_cannot_guess_its_patient_by_saving(desk: Desk) -> None:
    listed = desk.listed(MINE)
    right, wrong = (stow(desk.doctor, file_of(full_report(MINE, each))) for each in (MINE, FOREIGN))
    assert (right.status, right.body) == (wrong.status, wrong.body)
    assert (right.status, right.headers["x-ribcage-step-up"]) == (403, "totp")
    assert desk.listed(MINE) == listed


def test_saving_needs_a_right_to_the_study_and_tells_nothing_of_it(desk: Desk) -> None:
    nowhere = report(uid(), uid(), (), "Masked^000000", "MASKED-000000")
    answers = [stow(desk.doctor, file_of(each)) for each in (masked_report(FOREIGN), nowhere)]
    assert [each.status for each in answers] == [403, 403]
    assert answers[0].body == answers[1].body
    assert "derivation-refused" in desk.events()


def test_references_lie_in_studies_that_the_person_sees(desk: Desk) -> None:
    seen = masked_report(MINE, MINE.instance_uid, SEEN.instance_uid)
    foreign = masked_report(MINE, MINE.instance_uid, FOREIGN.instance_uid)
    unknown = masked_report(MINE, MINE.instance_uid, uid())
    assert stow(desk.doctor, file_of(seen)).status == 202
    answers = [stow(desk.doctor, file_of(each)) for each in (foreign, unknown)]
    assert [each.status for each in answers] == [403, 403]
    assert answers[0].body == answers[1].body


def test_a_withdrawn_right_saves_nothing(archive: Archive) -> None:
    doctor = archive.person(f"li{next(_numbers)}", "radiologist")
    name = f"li{next(_numbers) - 1}"
    grant = archive.grant(f"person:{name}", f"study:{MINE.study_uid}", "full")
    assert stow(doctor, file_of(masked_report(MINE))).status == 202
    archive.revoke(grant)
    assert stow(doctor, file_of(masked_report(MINE))).status == 403


def test_one_study_does_not_take_the_pseudonym_of_another(desk: Desk) -> None:
    data = masked_report(MINE)
    data.PatientID = masked_id(SEEN.study_uid)
    listed = desk.listed(MINE)
    assert stow(desk.doctor, file_of(data)).status == 403
    assert desk.listed(MINE) == listed


@pytest.mark.parametrize("role", ["technologist", "officer", "administrator"])
def test_only_treating_roles_save(archive: Archive, role: str) -> None:
    name = f"li{next(_numbers)}"
    person = archive.person(name, role)
    archive.grant(f"person:{name}", f"study:{MINE.study_uid}", "full")
    assert stow(person, file_of(masked_report(MINE))).status == 403


def test_a_document_of_another_class_is_not_saved_by_a_clinician(desk: Desk) -> None:
    data = masked_report(MINE)
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"  # Encapsulated PDF
    assert stow(desk.doctor, file_of(data)).status == 403


def test_no_identity_in_what_the_archive_wrote_of_it(desk: Desk) -> None:
    assert stow(desk.doctor, file_of(masked_report(MINE))).status == 202
    written = desk.events() + (desk.archive.folder / "server.log").read_text()
    assert [each for each in MINE.identity.needles() if each in written] == []


def test_priors_are_listed_by_patient_id_in_the_full_view_alone(desk: Desk) -> None:
    def studies(query: str) -> list[str]:
        reply = desk.doctor.request(f"/dicom-web/studies?{query}")
        return sorted(each["0020000D"]["Value"][0] for each in (reply.json() if reply.body else []))

    desk.archive.grant(f"person:{desk.name}", f"study:{PRIOR.study}", "full")
    assert masked_id(MINE.study_uid) != masked_id(PRIOR.study)
    for identifier in (masked_id(MINE.study_uid), MINE.identity.patient_id):
        assert studies(f"PatientID={identifier}") == []
    assert {MINE.study_uid, PRIOR.study} <= set(studies(""))  # both are seen, as two patients
    assert desk.doctor.step_up().status == 200
    assert studies(f"PatientID={MINE.identity.patient_id}") == sorted([MINE.study_uid, PRIOR.study])
