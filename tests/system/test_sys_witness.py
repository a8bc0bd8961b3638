"""The whole home put back to an older copy, with the archive and the witness as real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.archive import Archive, Browser, Identity
from helpers.guard_house import PASSPHRASE
from helpers.witness_house import WitnessProcess
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, Instance, instance_of, send

pytestmark = pytest.mark.soak
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
    trust = witness.trust()
    words = ["--key", trust.witness, "--certificate", trust.certificate_sha256.hex()]
    printed = at_archive(archive, "trust-witness", trust.url, *words)
    key = printed.split("trust-log '")[1].split("'")[0]
    told = witness.cli("trust-log", key)
    assert told.returncode == 0, told.stderr
    return key.split("+")[0]


def at_archive(archive: Archive, *words: str) -> str:
    """One command of the archive's operator: what it printed."""
    read, write = os.pipe()
    os.write(write, PASSPHRASE)
    os.close(write)
    command = [sys.executable, "-m", "ribcage.cli.main", *words, "--home", str(archive.home)]
    done = subprocess.run(
        [*command, "--passphrase-fd", str(read)], pass_fds=(read,), capture_output=True, text=True, timeout=60
    )
    os.close(read)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def archive_device(archive: Archive) -> Identity:
    """The modality that was registered before; its files lie beside the home."""
    place = archive.folder / "devices"
    return Identity("cr1", "CR1", place / "cr1.crt", place / "cr1.key", place / "ca.crt", b"")


def yesterday(archive: Archive, doctor: Browser, film: Instance) -> None:
    """A grant, a copy of everything, the revocation; then the copy instead of the home, running again."""
    older = archive.folder / "older"
    shutil.rmtree(older, ignore_errors=True)
    grant = archive.grant("person:wu", f"study:{film.study}", "full")
    assert doctor.retrieve(f"studies/{film.study}").status == 200
    archive.stop()
    shutil.copytree(archive.home, older)
    archive.start()
    archive.revoke(grant)
    assert doctor.retrieve(f"studies/{film.study}").status == 403
    archive.stop()
    put_back(archive, older)
    archive.start()


def test_a_home_put_back_discloses_lists_and_stores_nothing(tmp_path: Path, witness: WitnessProcess) -> None:
    film = instance_of(FILM)
    (tmp_path / "site").mkdir()
    archive = Archive(tmp_path / "site")
    archive.create()
    archive.start()
    try:
        doctor, first = furnish(archive, film)
        archive.revoke(first)
        yesterday(archive, doctor, film)  # the control: without a witness the revoked grant is alive
        assert doctor.retrieve(f"studies/{film.study}").status == 200
        assert archive.verify().clean
        archive.revoke(first + 1)
        befriend(archive, witness)
        yesterday(archive, doctor, film)
        seen = doctor.retrieve(f"studies/{film.study}")
        listed = doctor.request("/dicom-web/studies", Accept="application/dicom+json")
        assert (seen.status, listed.status) == (503, 503)
        assert film.uid.encode() not in seen.body + listed.body
        assert send(archive, archive_device(archive), instance_of(LATER)) != SUCCESS
        assert archive.verify().clean  # from inside nothing is wrong
        assert any(line.startswith("ALARM") for line in state(archive).findings)
        archive.stop()
        archive.patch = "no_witness_gate"  # the defence taken out: the witness is in vain
        archive.start()
        assert doctor.retrieve(f"studies/{film.study}").status == 200
    finally:
        archive.stop()


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
        told = at_archive(archive, "status")
        assert "configuration embedded + witness" in told
        assert "witness witness.example/1: open" in told
        assert "trust-witness" not in told  # what is answered is not listed as open
        at_archive(archive, "forget-witness")
        assert "trust-witness" in at_archive(archive, "status")
    finally:
        archive.stop()
