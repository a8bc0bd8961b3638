"""DCMTK's own findscu, by full path, over TLS with a certificate, against the running archive."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from helpers.archive import Archive, Identity, new_archive
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, send

FINDSCU = "/usr/bin/findscu"
pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if not Path(FINDSCU).exists():
        if os.environ.get("CI"):
            pytest.fail("DCMTK is not installed: .ci/run installs it")
        pytest.skip("DCMTK is not installed: apt-get install dcmtk")
    with new_archive(tmp_path_factory.mktemp("dcmtk")) as running:
        yield running


@pytest.fixture(scope="module")
def station(archive: Archive) -> Identity:
    """A workstation that may see one of two stored studies."""
    station = archive.device("ws1", "WS1", "query", "store")
    for number in (1, 2):
        assert send(archive, station, instance_of(make_study(61, number).file)) == SUCCESS
    archive.grant("device:ws1", f"study:{make_study(61, 1).study_uid}", "full")
    return station


def find(
    archive: Archive, who: Identity, folder: Path, model: str, *keys: str
) -> tuple[int, list[pydicom.Dataset]]:
    """Exit status and the answers, as findscu wrote them."""
    folder.mkdir(exist_ok=True)
    words = [word for key in keys for word in ("-k", key)]
    command = [
        FINDSCU, "+tls", str(who.key), str(who.certificate), "+cf", str(who.authority), "-aet", who.ae_title,
        "-aec", "RIBCAGE", "-to", "10", model, "-X", "-od", str(folder), *words, "127.0.0.1", str(archive.dicom[1]),
    ]  # fmt: skip
    environment = dict(os.environ, TCP_NODELAY="1")
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    return done.returncode, [pydicom.dcmread(each, force=True) for each in sorted(folder.glob("rsp*.dcm"))]


def test_findscu_lists_the_granted_study_alone(archive: Archive, station: Identity, tmp_path: Path) -> None:
    mine = make_study(61, 1)
    keys = ("QueryRetrieveLevel=STUDY", "PatientName", "PatientID", "StudyInstanceUID", "ModalitiesInStudy")
    status, answers = find(archive, station, tmp_path, "-S", *keys)
    assert status == 0
    (answer,) = answers
    assert answer.StudyInstanceUID == mine.study_uid
    assert answer.PatientID == mine.identity.patient_id
    assert answer.QueryRetrieveLevel == "STUDY"
    assert answer.InstanceAvailability == "ONLINE"


def test_findscu_walks_the_patient_root_down_to_the_image(
    archive: Archive, station: Identity, tmp_path: Path
) -> None:
    mine = make_study(61, 1)
    patient = f"PatientID={mine.identity.patient_id}"
    study = f"StudyInstanceUID={mine.study_uid}"

    def one(level: str, *keys: str) -> pydicom.Dataset:
        words = (f"QueryRetrieveLevel={level}", patient, *keys)
        status, answers = find(archive, station, tmp_path / level, "-P", *words)
        assert (status, len(answers)) == (0, 1), level
        return answers[0]

    assert one("PATIENT", "PatientName").PatientName
    assert one("STUDY", "StudyInstanceUID").StudyInstanceUID == mine.study_uid
    series = one("SERIES", study, "SeriesInstanceUID").SeriesInstanceUID
    image = one("IMAGE", study, f"SeriesInstanceUID={series}", "SOPInstanceUID")
    assert image.SOPInstanceUID == instance_of(mine.file).uid


def test_findscu_is_told_of_no_study_that_was_not_granted(
    archive: Archive, station: Identity, tmp_path: Path
) -> None:
    theirs = make_study(61, 2)
    for key in (f"StudyInstanceUID={theirs.study_uid}", f"PatientID={theirs.identity.patient_id}"):
        status, answers = find(archive, station, tmp_path, "-S", "QueryRetrieveLevel=STUDY", key)
        assert (status, answers) == (0, [])


def test_findscu_without_the_right_to_ask_gets_no_context(archive: Archive, tmp_path: Path) -> None:
    modality = archive.device("ct7", "CT7", "store")
    status, answers = find(archive, modality, tmp_path, "-S", "QueryRetrieveLevel=STUDY", "StudyInstanceUID")
    assert status != 0
    assert answers == []
