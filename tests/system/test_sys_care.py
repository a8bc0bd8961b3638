"""From the hospital's own messages over MLLP and TLS to films on a screen, through every process of the archive."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

import pytest

from helpers.archive import Archive, Browser, Identity, new_archive
from helpers.his import Engine, Writer
from ribcage.cli.settings import Listen
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, send

LISTEN = Listen(dicom_port=0, https_port=0, hl7_address="127.0.0.1", hl7_port=0)


class Ward:
    """An archive with a film, its doctor and the hospital's engine."""

    def __init__(self, archive: Archive) -> None:
        self.archive, self.his = archive, Writer()
        cr = archive.device("cr", "CR", "store")
        made = make_study(1, 0)
        self.film, self.patient = instance_of(made.file), f"{made.identity.patient_id}|RIBCAGE DEMO"
        assert send(archive, cr, self.film) == SUCCESS
        self.engine: Identity = archive.device("engine", "ENGINE", "his")
        self.doctor: Browser = archive.person("ada", "clinician")
        archive.ask(p.SetStaffNumber("ada", "D1"), p.Noted)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with new_archive(tmp_path_factory.mktemp("care"), listen=LISTEN, care_grace_hours=0.0) as archive:
        yield Ward(archive)


def _study(ward: Ward) -> str:
    return f"studies/{ward.film.study}"


def test_an_admission_opens_the_films_to_the_ward_and_the_discharge_closes_them(ward: Ward) -> None:
    now, his, doctor = time.time() - 60, ward.his, ward.doctor
    engine = Engine(ward.archive.hl7, ward.engine.context())
    try:
        assert engine.tell(his.staff("D1", [("W1", now, now + 9000)], now)) == "AA"
        assert doctor.retrieve(_study(ward)).status == 403
        assert engine.tell(his.adt("A01", ward.patient, "V1", now, ward="W1")) == "AA"
        doctor.step_up()
        assert doctor.retrieve(_study(ward)).status == 200
        assert engine.tell(his.adt("A03", ward.patient, "V1", now + 1, ward="W1")) == "AA"
        assert doctor.retrieve(_study(ward)).status == 403
    finally:
        engine.close()


def test_without_a_certificate_nobody_is_heard(ward: Ward) -> None:
    context = ssl.create_default_context(cafile=str(ward.archive.authority))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Engine(ward.archive.hl7, context).tell(
            ward.his.adt("A01", ward.patient, "V2", time.time(), ward="W1")
        )


def test_a_device_without_the_right_is_not_heard(ward: Ward) -> None:
    other = ward.archive.device("other", "OTHER", "store", "query", "retrieve")
    with pytest.raises(ConnectionError):
        Engine(ward.archive.hl7, other.context()).tell(
            ward.his.adt("A01", ward.patient, "V3", time.time(), ward="W1")
        )


def test_what_is_repeated_after_a_kill_happens_once(ward: Ward) -> None:
    """`tests/crash/test_care_survives_kill.py` does it again and again."""
    archive, his, now = ward.archive, ward.his, time.time()
    text = his.adt("A01", "PID77", "V77", now, staff=["D1"])
    engine = Engine(archive.hl7, ward.engine.context())
    engine.send(text)
    archive.kill()
    archive.start()
    engine = Engine(archive.hl7, ward.engine.context())
    assert [engine.tell(text), engine.tell(text)] == ["AA", "AA"]
    engine.close()
    grants = archive.ask(p.ListGrants(), p.GrantItems).items
    assert [each.subject for each in grants if each.resource == "patient:PID77"] == ["person:ada"]
    relations = archive.ask(p.ListCare(), p.CareItems).relations
    assert [each.number for each in relations if each.patient == "PID77"] == ["V77"]
