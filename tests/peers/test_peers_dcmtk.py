"""DCMTK's own storescu, echoscu and dcmsend, by full path, over TLS with certificates, against the running archive.

dcmsend has no TLS of its own and goes through stunnel.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import pytest

from helpers.archive import Archive, Browser, Identity, new_archive, parts
from peers.tunnels import tunnel
from ribcage.crypto import authority
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import instance_of

STORESCU, ECHOSCU, DCMSEND = "/usr/bin/storescu", "/usr/bin/echoscu", "/usr/bin/dcmsend"
pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if not Path(STORESCU).exists():
        if os.environ.get("CI"):
            pytest.fail("DCMTK is not installed: .ci/run installs it")
        pytest.skip("DCMTK is not installed: apt-get install dcmtk")
    with new_archive(tmp_path_factory.mktemp("dcmtk")) as running:
        yield running


@pytest.fixture(scope="module")
def modality(archive: Archive) -> Identity:
    return archive.device("cr1", "CR1", "store")


def dcmtk(
    tool: str, archive: Archive, who: Identity, *words: str, ae: str = "", called: str = "RIBCAGE"
) -> int:
    """Exit status of one call with this certificate."""
    command = [
        tool, "+tls", str(who.key), str(who.certificate), "+cf", str(who.authority),
        "-aet", ae or who.ae_title, "-aec", called, "-to", "10", "127.0.0.1", str(archive.dicom[1]), *words,
    ]  # fmt: skip
    environment = dict(os.environ, TCP_NODELAY="1")
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode


def test_echoscu_is_answered(archive: Archive, modality: Identity) -> None:
    assert dcmtk(ECHOSCU, archive, modality) == 0


def test_storescu_stores_and_the_study_comes_back(
    archive: Archive, modality: Identity, tmp_path: Path
) -> None:
    study = make_study(5, 1)
    (tmp_path / "one.dcm").write_bytes(study.file)
    assert dcmtk(STORESCU, archive, modality, str(tmp_path / "one.dcm")) == 0
    doctor = archive.person("li", "radiologist")
    archive.grant("person:li", f"study:{study.study_uid}", "full")
    assert doctor.step_up().status == 200
    (back,) = parts(doctor.retrieve(f"studies/{study.study_uid}"))
    assert study.identity.patient_id.encode() in back
    assert archive.verify().clean


def test_dcmsend_sends_a_folder_and_reports_every_file_as_sent(
    archive: Archive, modality: Identity, tmp_path: Path
) -> None:
    studies = [make_study(5, number) for number in (11, 12, 13)]
    (tmp_path / "films").mkdir()
    for study in studies:
        (tmp_path / "films" / f"{study.instance_uid}.dcm").write_bytes(study.file)
    report = tmp_path / "report.txt"
    with tunnel(tmp_path, archive, modality) as port:
        words = [DCMSEND, "-aet", "CR1", "-aec", "RIBCAGE", "+sd", "+crf", report]
        done = subprocess.run([*words, "127.0.0.1", port, tmp_path / "films"], timeout=60, check=False)
    assert done.returncode == 0
    assert report.read_text().count("0x0000") >= len(studies)
    device = archive.device("ws5", "WS5", "query", "retrieve")
    archive.grant("device:ws5", "department:radiology", "full")
    web = Browser(archive, pyotp.TOTP("A" * 32))
    web.context = device.context()
    for study in studies:
        (back,) = parts(web.retrieve(f"studies/{study.study_uid}"))
        assert instance_of(back).data_set == instance_of(study.file).data_set


def test_wrong_calling_and_called_titles_are_rejected(archive: Archive, modality: Identity) -> None:
    assert dcmtk(ECHOSCU, archive, modality, ae="OTHER") != 0
    assert dcmtk(ECHOSCU, archive, modality, called="NOBODY") != 0


def test_without_a_certificate_or_without_tls_there_is_no_association(
    archive: Archive, modality: Identity
) -> None:
    """A TLS 1.3 client believes in its handshake: only the DICOM answer tells."""
    where = ["-aet", modality.ae_title, "-aec", "RIBCAGE", "-to", "10", "127.0.0.1", str(archive.dicom[1])]
    for security in (["+tla", "+cf", str(modality.authority)], []):
        done = subprocess.run([ECHOSCU, *security, *where], capture_output=True, timeout=60, check=False)
        assert done.returncode != 0, security


def test_a_foreign_authoritys_certificate_gets_no_association(
    archive: Archive, modality: Identity, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    issued = authority.issue_client(authority.make_root("Elsewhere", now=now), "cr1", now=now)
    (tmp_path / "x.crt").write_bytes(issued.certificate_pem)
    (tmp_path / "x.key").write_bytes(issued.private_key_pem)
    stranger = Identity("x", "CR1", tmp_path / "x.crt", tmp_path / "x.key", modality.authority, b"")
    assert dcmtk(ECHOSCU, archive, stranger) != 0


def test_a_registered_foreign_certificate_is_known_by_its_fingerprint(
    archive: Archive, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    issued = authority.issue_client(authority.make_root("Vendor", now=now), "vendor-ct", now=now)
    (tmp_path / "v.crt").write_bytes(issued.certificate_pem)
    (tmp_path / "v.key").write_bytes(issued.private_key_pem)
    request = p.AddDevice(
        name="vendor-ct", ae_titles=["VENDOR"], may=["store"], certificate_pem=issued.certificate_pem
    )
    added = archive.ask(request, p.DeviceAdded)
    device = Identity(
        "v", "VENDOR", tmp_path / "v.crt", tmp_path / "v.key", archive.authority, added.fingerprint
    )
    assert dcmtk(ECHOSCU, archive, device) == 0


def test_a_suspended_device_is_nobody(archive: Archive) -> None:
    device = archive.device("ct9", "CT9", "store")
    assert dcmtk(ECHOSCU, archive, device) == 0
    archive.ask(p.SuspendDevice(name="ct9", suspended=True), p.Noted)
    assert dcmtk(ECHOSCU, archive, device) != 0
