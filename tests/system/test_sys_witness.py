"""The whole home put back to an older copy, with the archive and the witness as real processes."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.archive import Archive, Browser, Identity
from helpers.witness_house import WitnessProcess
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, Instance, instance_of, send

FILM = make_study(47, 1).file
LATER = make_study(47, 2).file


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    made = WitnessProcess(tmp_path / "witness")
    made.create()
    made.start()
    yield made
    made.stop()


def befriend(archive: Archive, witness: WitnessProcess) -> str:
    """Both sides are told; the log's origin."""
    answer = archive.ask(witness.trust(), p.WitnessTrusted)
    told = witness.cli("trust-log", answer.log)
    assert told.returncode == 0, told.stderr
    return answer.log.split("+")[0]


def put_back(archive: Archive, older: Path) -> None:
    shutil.rmtree(archive.home)
    shutil.copytree(older, archive.home)


def furnish(archive: Archive, film: Instance) -> tuple[Browser, int]:
    """A stored film, a doctor who sees it; the grant's number."""
    modality = archive.device("cr1", "CR1", "store")
    assert send(archive, modality, film) == SUCCESS
    doctor = archive.person("wu", "clinician")
    return doctor, archive.grant("person:wu", f"study:{film.study}", "full")


def state(archive: Archive) -> p.Status:
    return archive.ask(p.GetStatus(), p.Status)


def rollback(folder: Path, witness: WitnessProcess | None, patch: str = "") -> tuple[int, int, str]:
    """Yesterday's home instead of today's: HTTP status of the film, of a search, and the witness's state."""
    film = instance_of(FILM)
    folder.mkdir()
    archive = Archive(folder, patch=patch)
    archive.create()
    archive.start()
    try:
        if witness is not None:
            befriend(archive, witness)
        doctor, grant = furnish(archive, film)
        assert doctor.retrieve(f"studies/{film.study}").status == 200
        archive.stop()
        shutil.copytree(archive.home, folder / "older")
        archive.start()
        archive.revoke(grant)
        assert doctor.retrieve(f"studies/{film.study}").status in (403, 404)
        archive.stop()
        put_back(archive, folder / "older")
        archive.start()
        seen = doctor.retrieve(f"studies/{film.study}")
        listed = doctor.request("/dicom-web/studies", Accept="application/dicom+json")
        if seen.status != 200:
            assert film.uid.encode() not in seen.body + listed.body
            assert send(archive, archive_device(archive), instance_of(LATER)) != SUCCESS
        assert archive.verify().clean  # from inside nothing is wrong
        return seen.status, listed.status, state(archive).witness.state
    finally:
        archive.stop()


def archive_device(archive: Archive) -> Identity:
    """The modality that was registered before; its files lie beside the home."""
    place = archive.folder / "devices"
    return Identity("cr1", "CR1", place / "cr1.crt", place / "cr1.key", place / "ca.crt", b"")


def test_a_home_put_back_discloses_lists_and_stores_nothing(tmp_path: Path, witness: WitnessProcess) -> None:
    assert rollback(tmp_path / "site", witness) == (503, 503, "behind")


def test_without_a_witness_the_revoked_grant_is_alive_again(tmp_path: Path) -> None:
    assert rollback(tmp_path / "site", None) == (200, 200, "none")


def test_without_the_gate_the_witness_is_in_vain(tmp_path: Path, witness: WitnessProcess) -> None:
    assert rollback(tmp_path / "site", witness, patch="no_witness_gate")[0] == 200


def test_a_witness_killed_in_between_costs_nothing_and_forgets_nothing(
    tmp_path: Path, witness: WitnessProcess
) -> None:
    film = instance_of(FILM)
    (tmp_path / "site").mkdir()
    archive = Archive(tmp_path / "site")
    archive.create()
    archive.start()
    try:
        origin = befriend(archive, witness)
        doctor, _ = furnish(archive, film)
        witness.stop(signal.SIGKILL)
        seen = witness.history(origin)
        assert doctor.retrieve(f"studies/{film.study}").status == 200  # rule: later silence stops nothing
        archive.kill()
        archive.start()  # now the witness is silent at the start
        assert state(archive).witness.state == "waiting"
        assert doctor.retrieve(f"studies/{film.study}").status == 503
        assert send(archive, archive_device(archive), instance_of(LATER)) == SUCCESS
        witness.start()
        assert witness.history(origin)[: len(seen)] == seen
        archive.stop()
        archive.start()
        assert state(archive).witness.state == "open"
        assert doctor.retrieve(f"studies/{film.study}").status == 200
        assert len(witness.history(origin)) > len(seen)
    finally:
        archive.stop()
