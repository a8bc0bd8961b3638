"""Orthanc behind the shield: DCMTK outside over mutual TLS, plain DICOM on loopback inside."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.archive import Archive, Identity
from helpers.shielded import NakedOrthanc, need_orthanc, shield_before
from peers.test_peers_dcmtk import ECHOSCU
from ribcage.oversight.studies import Study, make_study
from system.senders import SUCCESS, instance_of, send

pytestmark = pytest.mark.peers
_ordinals = itertools.count(1)
STORESCU, FINDSCU, GETSCU = ("/usr/bin/" + each for each in ("storescu", "findscu", "getscu"))


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NakedOrthanc]:
    need_orthanc()
    running = NakedOrthanc(tmp_path_factory.mktemp("orthanc") / "it")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shield(orthanc: NakedOrthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with shield_before(orthanc.port, tmp_path_factory.mktemp("shield")) as running:
        yield running


@pytest.fixture(scope="module")
def modality(shield: Archive) -> Identity:
    return shield.device("cr1", "CR1", "store")


@pytest.fixture(scope="module")
def station(shield: Archive) -> Identity:
    return shield.device("ws1", "WS1", "query", "retrieve")


def new_study() -> Study:
    return make_study(83, next(_ordinals))


def dcmtk(
    program: str, shield: Archive, who: Identity | None, *more: str
) -> subprocess.CompletedProcess[str]:
    """One of DCMTK's programs, with a device's certificate or without one."""
    security = (
        ["+tla"] if who is None else ["+tls", str(who.key), str(who.certificate), "+cf", str(who.authority)]
    )
    title = "CR1" if who is None else who.ae_title
    command = [program, *security, "-ic", "-v", "-aet", title, "-aec", "RIBCAGE", "-to", "10"]
    command += ["localhost", str(shield.dicom[1]), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_storescu_stores_through_the_shield_bit_for_bit(
    shield: Archive, orthanc: NakedOrthanc, modality: Identity, tmp_path: Path
) -> None:
    study = new_study()
    (tmp_path / "film.dcm").write_bytes(study.file)
    sent = dcmtk(STORESCU, shield, modality, str(tmp_path / "film.dcm"))
    assert sent.returncode == 0, sent.stderr
    assert instance_of(orthanc.file(study.instance_uid)).data_set == instance_of(study.file).data_set
    assert not list((shield.home / "objects").glob("*/*"))  # the shield keeps none


def test_nobody_without_a_certificate_comes_through(
    shield: Archive, orthanc: NakedOrthanc, modality: Identity, tmp_path: Path
) -> None:
    study = new_study()
    (tmp_path / "film.dcm").write_bytes(study.file)
    assert dcmtk(ECHOSCU, shield, modality).returncode == 0
    assert dcmtk(ECHOSCU, shield, None).returncode != 0
    dcmtk(STORESCU, shield, None, str(tmp_path / "film.dcm"))
    assert orthanc.key(study.instance_uid) == ""


def test_findscu_is_named_what_the_contract_allows(
    shield: Archive, orthanc: NakedOrthanc, modality: Identity, station: Identity
) -> None:
    mine, other = new_study(), new_study()
    for study in (mine, other):
        assert send(shield, modality, instance_of(study.file)) == SUCCESS
    shield.grant("device:ws1", f"study:{mine.study_uid}", "full")
    keys = [
        "-S",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "StudyInstanceUID",
        "-k",
        "PatientName",
        "-k",
        "PatientID",
    ]
    found = dcmtk(FINDSCU, shield, station, *keys)
    assert found.returncode == 0, found.stderr
    said = found.stdout + found.stderr
    assert mine.study_uid in said and mine.identity.patient_id in said
    assert other.study_uid not in said and other.identity.patient_id not in said
