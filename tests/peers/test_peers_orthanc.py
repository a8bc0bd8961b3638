"""Orthanc over DICOM TLS, both ways, with certificates on both sides and nothing in between."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.archive import Archive, Identity, new_archive, parts
from helpers.orthanc_tls import TlsOrthanc
from helpers.queue_house import wait_for
from peers.test_peers_dcmtk import ECHOSCU
from ribcage.guard import protocol as p
from ribcage.oversight.drill.twin import find_orthanc
from ribcage.oversight.studies import Study, make_study
from system.senders import SUCCESS, instance_of, send

pytestmark = pytest.mark.peers
_ordinals = itertools.count(1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if not find_orthanc():
        if os.environ.get("CI"):
            pytest.fail("Orthanc is not installed: .ci/run installs it")
        pytest.skip("Orthanc is not installed: apt-get install orthanc")
    with new_archive(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture(scope="module")
def orthanc(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsOrthanc]:
    """A device with every right but a grant, registered as a destination too."""
    who = archive.device("orthanc", "ORTHANC", "store", "query", "retrieve")
    running = TlsOrthanc(tmp_path_factory.mktemp("orthanc") / "it", archive, who)
    archive.ask(p.AddDestination("ORTHANC", "orthanc", "127.0.0.1", running.port), p.Noted)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def modality(archive: Archive) -> Identity:
    return archive.device("cr1", "CR1", "store")


def new_study() -> Study:
    return make_study(71, next(_ordinals))


def held(archive: Archive, modality: Identity, *, granted: bool) -> Study:
    """A new study in the archive, Orthanc's to see or not."""
    study = new_study()
    assert send(archive, modality, instance_of(study.file)) == SUCCESS
    if granted:
        archive.grant("device:orthanc", f"study:{study.study_uid}", "full")
    return study


def find(orthanc: TlsOrthanc, level: str, **keys: str) -> tuple[str, list[dict[str, str]]]:
    """C-FIND: where Orthanc keeps the answers, and the answers."""
    asked = orthanc.ask("POST", "/modalities/ribcage/query", {"Level": level, "Query": keys})
    return asked["Path"], orthanc.ask("GET", f"{asked['Path']}/answers?simplify&expand")


def same_data_set(orthanc: TlsOrthanc, study: Study) -> bool:
    """Whether Orthanc's file has the data set that the modality sent, bit for bit."""
    return instance_of(orthanc.file(study.instance_uid)).data_set == instance_of(study.file).data_set


def test_orthanc_echoes_and_lets_in_nobody_without_a_certificate(
    archive: Archive, orthanc: TlsOrthanc, modality: Identity
) -> None:
    assert orthanc.call("POST", "/modalities/ribcage/echo", {})[0] == 200
    own = ["+tls", str(modality.key), str(modality.certificate)]
    where = ["-aet", "RIBCAGE", "-aec", "ORTHANC", "-to", "10", "127.0.0.1", str(orthanc.port)]
    for security, answered in (([*own, "-ic"], True), (["+tla", "-ic"], False), ([], False)):
        # -ic: a device's certificate is a client's; whoever calls it compares the certificate itself
        done = subprocess.run([ECHOSCU, *security, *where], capture_output=True, timeout=60, check=False)
        assert (done.returncode == 0) is answered, security


def test_orthanc_sends_and_what_it_sent_comes_back_bit_for_bit(archive: Archive, orthanc: TlsOrthanc) -> None:
    study = new_study()
    orthanc.store(study.file)
    told = orthanc.ask("POST", "/modalities/ribcage/store", [orthanc.key(study.instance_uid)])
    assert (told["InstancesCount"], told["FailedInstancesCount"]) == (1, 0)
    doctor = archive.person("li", "radiologist")
    archive.grant("person:li", f"study:{study.study_uid}", "full")
    assert doctor.step_up().status == 200
    (back,) = parts(doctor.retrieve(f"studies/{study.study_uid}"))
    assert instance_of(back).data_set == instance_of(study.file).data_set
    assert archive.verify().clean


def test_orthanc_finds_what_it_was_granted_at_each_level(
    archive: Archive, orthanc: TlsOrthanc, modality: Identity
) -> None:
    mine, other = (held(archive, modality, granted=granted) for granted in (True, False))
    name = mine.identity.person_name
    _, (found,) = find(orthanc, "Study", PatientID=mine.identity.patient_id, PatientName="")
    assert (found["StudyInstanceUID"], found["PatientName"]) == (mine.study_uid, name)
    _, (found,) = find(orthanc, "Patient", PatientName=name, PatientID="")
    assert found["PatientID"] == mine.identity.patient_id
    study = {"StudyInstanceUID": mine.study_uid}
    _, (found,) = find(orthanc, "Series", **study, Modality="")
    assert (found["SeriesInstanceUID"], found["Modality"]) == (mine.series_uid, "CR")
    _, (found,) = find(orthanc, "Instance", **study, SeriesInstanceUID=mine.series_uid, SOPInstanceUID="")
    assert found["SOPInstanceUID"] == mine.instance_uid
    assert find(orthanc, "Study", StudyInstanceUID=other.study_uid)[1] == []


def test_orthanc_retrieves_to_its_own_listener_what_it_was_granted(
    archive: Archive, orthanc: TlsOrthanc, modality: Identity
) -> None:
    mine, other = (held(archive, modality, granted=granted) for granted in (True, False))
    query, _ = find(orthanc, "Study", StudyInstanceUID=mine.study_uid)
    orthanc.ask("POST", f"{query}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    assert same_data_set(orthanc, mine)
    for study in (other, mine):  # it keeps silent about the status of a C-MOVE: what has come tells
        moved = {"Level": "Study", "Resources": [{"StudyInstanceUID": study.study_uid}]}
        orthanc.call("POST", "/modalities/ribcage/move", moved)
    assert orthanc.key(other.instance_uid) == ""


def test_orthanc_gets_what_a_rule_sends_on(archive: Archive, orthanc: TlsOrthanc, modality: Identity) -> None:
    archive.grant("device:orthanc", "department:radiology", "full")
    conditions = p.RouteConditions(modality="CR", device="cr1")
    rule = archive.ask(p.AddRoute("ORTHANC", conditions), p.RouteAdded).number
    studies = [new_study() for _ in range(5)]
    for study in studies:
        assert send(archive, modality, instance_of(study.file)) == SUCCESS
    wait_for(lambda: all(orthanc.key(study.instance_uid) for study in studies))
    assert all(same_data_set(orthanc, study) for study in studies)
    archive.ask(p.RemoveRoute(rule), p.Noted)


def test_another_device_in_orthancs_place_gets_nothing(
    archive: Archive, modality: Identity, tmp_path: Path
) -> None:
    """The certificate that answers must be the destination's own."""
    archive.device("node", "NODE", "query", "retrieve")
    archive.grant("device:node", "department:radiology", "full")
    other = archive.device("other", "NODE2", "query", "retrieve")
    stranger = TlsOrthanc(tmp_path / "it", archive, replace(other, ae_title="NODE"))
    try:
        archive.ask(p.AddDestination("NODE", "node", "127.0.0.1", stranger.port), p.Noted)
        study = held(archive, modality, granted=False)
        job = archive.ask(p.QueueStudy(study.study_uid, "", "NODE"), p.Queued).job
        wait_for(lambda: archive.ask(p.ShowJob(job), p.JobShown).line.refusal == "no_association")
        assert stranger.key(study.instance_uid) == ""
    finally:
        stranger.stop()


def test_orthanc_asks_for_commitment_and_hears_what_it_sent(archive: Archive, orthanc: TlsOrthanc) -> None:
    """It leaves after its request, and takes the report on an association of the archive's."""
    sent, unsent = new_study(), new_study()
    for study in (sent, unsent):
        orthanc.store(study.file)
    keys = {study: orthanc.key(study.instance_uid) for study in (sent, unsent)}
    orthanc.ask("POST", "/modalities/ribcage/store", [keys[sent]])
    for wanted, status in ((sent, "Success"), (unsent, "Failure")):
        body = {"Resources": [keys[wanted]]}
        path = orthanc.ask("POST", "/modalities/ribcage/storage-commitment", body)["Path"]
        wait_for(lambda path=path, status=status: orthanc.ask("GET", path)["Status"] == status)
    reports = archive.ask(p.ReportPage(0, 10), p.ReportLines).reports
    assert [(each.state, each.failed) for each in reports] == [("done", 0), ("done", 1)]
