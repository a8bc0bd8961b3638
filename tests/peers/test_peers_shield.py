"""Orthanc behind the shield: DCMTK outside over mutual TLS, plain DICOM on loopback inside."""

from __future__ import annotations

import io
import itertools
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from helpers.archive import Archive, Identity, parts
from helpers.orthanc_tls import TlsOrthanc
from helpers.queue_house import wait_for
from helpers.raw_scu import AssociationFailed, RawAssociation
from helpers.retrieve_peers import c_get, identifier
from helpers.shielded import NakedOrthanc, need_orthanc, shield_before
from peers.test_peers_dcmtk import ECHOSCU
from ribcage.cli.drill import drill_shield
from ribcage.dicom.sop_classes import VERIFICATION
from ribcage.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from ribcage.evidence.audit_event import kind_of
from ribcage.guard import protocol as p
from ribcage.oversight.studies import Study, make_study
from system.senders import SUCCESS, instance_of, send, stow

pytestmark = pytest.mark.peers
_ordinals = itertools.count(1)
STORESCU, FINDSCU = "/usr/bin/storescu", "/usr/bin/findscu"


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


def held(shield: Archive, modality: Identity, who: str) -> Study:
    """A new study in Orthanc, `who`'s to see ('': nobody's)."""
    study = new_study()
    assert send(shield, modality, instance_of(study.file)) == SUCCESS
    if who:
        shield.grant(who, f"study:{study.study_uid}", "full")
    return study


def test_a_workstation_gets_what_it_was_granted_bit_for_bit_and_nothing_else(
    shield: Archive, modality: Identity, station: Identity
) -> None:
    mine, other = held(shield, modality, "device:ws1"), held(shield, modality, "")
    sent = instance_of(mine.file)
    for study, brought in ((other, {}), (mine, {sent.uid: sent.data_set})):
        wanted = identifier(StudyInstanceUID=study.study_uid)
        more = {"syntaxes": (sent.transfer_syntax,), "sop_class": sent.sop_class}
        got = c_get(shield.dicom, station.context(), wanted, **more)
        assert got.data == brought
        assert (got.status == SUCCESS) is bool(brought)


def test_what_moves_goes_to_a_registered_destination_alone(
    shield: Archive, orthanc: NakedOrthanc, modality: Identity, tmp_path: Path
) -> None:
    node = TlsOrthanc(tmp_path / "it", shield, shield.device("node", "NODE", "query", "retrieve"))
    try:
        mine, other = held(shield, modality, "device:node"), held(shield, modality, "")
        shield.ask(p.AddDestination("NODE", "node", "127.0.0.1", node.port), p.Noted)
        for study in (other, mine):
            moved = {"Level": "Study", "Resources": [{"StudyInstanceUID": study.study_uid}]}
            node.call("POST", "/modalities/ribcage/move", moved)
        wait_for(lambda: node.key(mine.instance_uid) != "")
        assert instance_of(node.file(mine.instance_uid)).data_set == instance_of(mine.file).data_set
        assert node.key(other.instance_uid) == ""
    finally:
        node.stop()


def test_a_doctor_browses_masked_and_sees_all_after_the_second_factor(
    shield: Archive, orthanc: NakedOrthanc, modality: Identity
) -> None:
    mine, other = held(shield, modality, ""), held(shield, modality, "")
    doctor = shield.person("li", "radiologist")
    shield.grant("person:li", f"study:{mine.study_uid}", "full")
    assert doctor.retrieve(f"studies/{other.study_uid}").status == 403
    listed = doctor.request("/dicom-web/studies?limit=50", Accept="application/dicom+json")
    assert mine.study_uid.encode() in listed.body and other.study_uid.encode() not in listed.body
    assert mine.identity.patient_id.encode() not in listed.body
    probed = doctor.request(f"/dicom-web/studies?PatientID={mine.identity.patient_id}")
    assert mine.study_uid.encode() not in probed.body
    masked = parts(doctor.retrieve(f"studies/{mine.study_uid}"))
    assert len(masked) == 1 and mine.identity.patient_id.encode() not in masked[0]
    metadata = doctor.request(f"/dicom-web/studies/{mine.study_uid}/metadata")
    assert metadata.status == 200 and mine.identity.patient_id.encode() not in metadata.body
    rendered = doctor.request(f"/dicom-web/{instance_of(mine.file).path}/rendered", Accept="image/jpeg")
    assert (rendered.status, rendered.body[:2]) == (200, b"\xff\xd8")
    assert doctor.step_up().status == 200
    (whole,) = parts(doctor.retrieve(f"studies/{mine.study_uid}"))
    assert instance_of(whole).data_set == instance_of(mine.file).data_set
    listed = doctor.request(f"/dicom-web/studies?PatientID={mine.identity.patient_id}")
    assert mine.study_uid.encode() in listed.body


def test_a_whole_file_stored_by_stow_is_in_orthanc(shield: Archive, orthanc: NakedOrthanc) -> None:
    study = new_study()
    nurse = shield.person("wu", "technologist")
    nurse.step_up()
    assert stow(nurse, study.file).status == 200
    assert instance_of(orthanc.file(study.instance_uid)).data_set == instance_of(study.file).data_set


def test_a_revoked_grant_is_gone_at_once(shield: Archive, modality: Identity) -> None:
    study = held(shield, modality, "")
    doctor = shield.person("zhao", "radiologist")
    grant = shield.grant("person:zhao", f"study:{study.study_uid}", "full")
    assert doctor.retrieve(f"studies/{study.study_uid}").status == 200
    shield.revoke(grant)
    assert doctor.retrieve(f"studies/{study.study_uid}").status == 403


def test_a_study_that_changed_hands_in_orthanc_is_nobodys(
    shield: Archive, orthanc: NakedOrthanc, modality: Identity
) -> None:
    """Who may write into the old PACS gives a victim's study to a patient whom the doctor may see."""
    victim, accomplice = new_study(), held(shield, modality, "")
    assert send(shield, modality, instance_of(victim.file)) == SUCCESS
    doctor = shield.person("qian", "radiologist")
    shield.grant("person:qian", f"patient:{accomplice.identity.patient_id}|RIBCAGE DEMO", "full")
    assert doctor.retrieve(f"studies/{victim.study_uid}").status == 403
    renamed = dcmread(io.BytesIO(victim.file))
    renamed.PatientID = accomplice.identity.patient_id
    orthanc.call("DELETE", f"/instances/{orthanc.key(victim.instance_uid)}")
    written = io.BytesIO()
    renamed.save_as(written)
    orthanc.store(written.getvalue())
    assert doctor.retrieve(f"studies/{accomplice.study_uid}").status == 200
    assert doctor.retrieve(f"studies/{victim.study_uid}").status == 403


def test_the_log_tells_what_was_stored_and_shown(shield: Archive) -> None:
    assert shield.verify().clean
    entries = shield.ask(p.AuditPage(start=0, count=1000), p.AuditEntries)
    kinds = {kind_of(text.encode()) for _, text in entries.entries}
    assert {"instance-forwarded", "disclosure-allowed", "disclosure-closed", "query-answered"} <= kinds


def test_attacks_that_open_naked_orthanc_are_held_at_the_shield() -> None:
    """The drill's own, unmodified; `ribcage drill --shield` runs all of them."""
    need_orthanc()
    chosen = (
        "plain_association",
        "no_certificate",
        "wrong_ae_for_certificate",
        "query_as_stranger",
        "retrieve_without_grant",
        "masked_leak",
        "revoked_grant",
    )
    report = drill_shield(chosen, studies=4)
    assert [one.outcome for one in report.attacks] == ["prevented"] * len(chosen)
    assert [one.control_on for one in report.attacks[:4]] == [
        "Orthanc",
        "Orthanc over TLS",
        "Orthanc over TLS",
        "Orthanc",
    ]


def test_a_suspended_device_is_cut_in_the_middle_of_its_association(shield: Archive) -> None:
    who = shield.device("cr-lost", "CRLOST", "store")
    syntaxes = [(VERIFICATION, [IMPLICIT_VR_LITTLE_ENDIAN])]
    with (
        pytest.raises((AssociationFailed, OSError)),
        RawAssociation(
            shield.dicom, syntaxes, ssl_context=who.context(), calling="CRLOST", timeout_seconds=30
        ) as association,
    ):
        assert association.echo() == SUCCESS
        shield.ask(p.SuspendDevice("cr-lost", True), p.Noted)
        association.next_message()  # nothing was asked: the end comes by itself


def test_a_device_renews_over_https_with_its_present_certificate(shield: Archive, tmp_path: Path) -> None:
    who = shield.device("cr-old", "CROLD", "store")
    base = f"https://localhost:{shield.https[1]}/api/device/certificate"
    key = tmp_path / "new.key"
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            str(key),
            "-subj",
            "/CN=cr-old",
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    asked = urllib.request.Request(base, data=made.stdout, headers={"Content-Type": "application/pkcs10"})
    with urllib.request.urlopen(asked, context=who.context(), timeout=30) as answer:
        (tmp_path / "new.crt").write_bytes(answer.read())
    renewed = replace(who, certificate=tmp_path / "new.crt", key=key)
    assert dcmtk(ECHOSCU, shield, renewed).returncode == 0
    assert dcmtk(ECHOSCU, shield, who).returncode != 0
    nobody = ssl.create_default_context(cafile=str(who.authority))
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(asked, context=nobody, timeout=30)
