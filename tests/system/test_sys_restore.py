"""A restored backup brings back neither a destroyed study nor a revoked right."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyotp
import pytest

from helpers.archive import Archive, Browser, new_archive, parts
from helpers.backups import make_due, restore, ribcage
from helpers.guard_house import PASSPHRASE, Officer
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.provider import FileKeyProvider
from ribcage.dicom import part10
from ribcage.evidence.fork import read_fork
from ribcage.guard import protocol as p
from ribcage.guard.keyring import Keyring
from ribcage.guard.place import read_facts
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, Instance, instance_of, send

KEPT, REVOKED, DESTROYED = "kept", "revoked", "destroyed"


@dataclass
class Ward:
    """Three films: one stays, the grant of one is revoked and one is destroyed after the backup."""

    folder: Path
    archive: Archive
    films: dict[str, Instance] = field(default_factory=dict)
    officers: list[Officer] = field(default_factory=list)
    doctor: p.PersonAdded | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def keys(self) -> Path:
        return self.folder / "keys-elsewhere"

    def fill(self) -> dict[str, int]:
        archive = self.archive
        modality = archive.device("cr1", "CR1", "store")
        for number, name in enumerate((KEPT, REVOKED, DESTROYED), 3):
            self.films[name] = instance_of(make_study(47, number).file)
            assert send(archive, modality, self.films[name]) == SUCCESS
        self.doctor = archive.ask(p.AddPerson("wu", "Wu", ["clinician"]), p.PersonAdded)
        for name, role in (("ann", "officer"), ("ben", "administrator")):
            added = archive.ask(p.AddPerson(name, name, [role]), p.PersonAdded)
            self.officers.append(Officer(name, added, time.time))
        return {
            name: archive.grant("person:wu", f"study:{f.study}", "full") for name, f in self.films.items()
        }

    def destroy(self) -> None:
        archive, (ann, ben) = self.archive, self.officers
        asked = p.AskDestruction(self.films[DESTROYED].study, "retention-end", ann.approves())
        number = archive.ask(asked, p.DestructionItem).number
        archive.ask(p.ApproveDestruction(number, ben.approves()), p.DestructionItem)
        archive.stop()
        make_due(archive.home)
        archive.start()
        done = archive.ask(p.RunDestructions(), p.DestructionItems)
        assert [each.state for each in done.items] in (["done"], [])

    def elsewhere(self, home: Path) -> Archive:
        """An archive on another home."""
        other = Archive(home.parent)
        other.home, other.authority = home, self.archive.authority
        return other

    def read(self, archive: Archive, name: str) -> int | bytes:
        """What the doctor gets of a film with a second factor: its data set, or the status of the refusal."""
        assert self.doctor is not None
        browser = Browser(archive, pyotp.parse_uri(self.doctor.totp_uri))
        browser.log_in("wu", self.doctor.password)
        if name == KEPT:
            browser.step_up()
        reply = browser.retrieve(self.films[name].path, X_Ribcage_View="full" if name == KEPT else "masked")
        if reply.status != 200:
            return reply.status
        file = parts(reply)[0]
        return file[part10.split(file).prefix_bytes :]


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Backed up while it ran; then a grant was revoked and a study destroyed. It is stopped."""
    folder = tmp_path_factory.mktemp("restore")
    with new_archive(folder) as archive:
        ward = Ward(folder, archive)
        grants = ward.fill()
        made = ribcage("backup", "--home", archive.home, "--to", ward.data, "--keys-to", ward.keys)
        assert made.returncode in (0, 1), made.stderr  # 1: all lies on one disk here
        assert "on the home's own file system" in made.stdout
        shutil.copytree(archive.home / "keys", folder / "keys-before")
        archive.revoke(grants[REVOKED])
        ward.destroy()
        assert ward.read(archive, REVOKED) in (403, 404)
        again = ribcage("backup", "check", "--home", archive.home, ward.data)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "2 newer changes of rights, 1 studies destroyed since" in again.stdout
        archive.stop()
        yield ward


def test_a_restored_archive_has_todays_rights_and_not_yesterdays_studies(ward: Ward, tmp_path: Path) -> None:
    home = tmp_path / "restored"
    done = restore(ward.data, home, ward.archive.home / "keys", ward.officers)
    assert done.returncode == 0, done.stdout + done.stderr
    archive = ward.elsewhere(home)
    archive.start()
    try:
        assert ward.read(archive, REVOKED) in (403, 404)  # the first question it is asked
        assert ward.read(archive, DESTROYED) in (403, 404)
        assert ward.read(archive, KEPT) == ward.films[KEPT].data_set  # bit for bit
        report = archive.verify()
        assert report.clean, report.differences
        assert report.strays == []
        status = archive.ask(p.GetStatus(), p.Status)
        assert (status.studies, status.findings) == (2, [])
        proof = archive.ask(p.ProveEntry(status.log_size - 1), p.EntryProof)
        assert proof.verifier_key.split("+")[0].endswith("/2")
        fork = read_fork((home / "fork-statement.txt").read_bytes())
        assert fork.new_key.encode() == proof.verifier_key
        assert fork.restored.size < fork.old.size
        entries = archive.ask(p.AuditPage(fork.restored.size, 40), p.AuditEntries).entries
        assert any('"home-restored"' in body for _, body in entries)
    finally:
        archive.stop()
    old = ribcage("status", "--home", ward.archive.home)
    assert old.returncode == 2
    assert "went on in another home" in old.stderr
    (ward.archive.home / "superseded.json").unlink()


def test_old_wraps_and_todays_provider_open_nothing(ward: Ward, tmp_path: Path) -> None:
    """The key store's copy of before the destruction, with the provider and the passphrase of today."""
    provider = FileKeyProvider.open(ward.archive.home / "keys" / "provider.json", PASSPHRASE)
    older = next(ward.keys.glob("keystore-*.db"))
    shutil.copy(older, tmp_path / "keystore.db")
    with pytest.raises(CryptoError):
        Keyring.open(tmp_path / "keystore.db", provider, read_facts(ward.archive.home).hospital)
    todays = ward.archive.home / "keys" / "provider.json"
    done = restore(
        ward.data, tmp_path / "home", ward.keys, ward.officers, "--provider", todays, "--rights-lost"
    )
    assert done.returncode == 2
    assert "before the last destruction" in done.stderr


def test_the_control_the_provider_of_that_day_opens_it(ward: Ward) -> None:
    """So it is the destroyed slot that stands against it, and the state of the file provider is never backed up."""
    keys = ward.folder / "keys-before"
    provider = FileKeyProvider.open(keys / "provider.json", PASSPHRASE)
    Keyring.open(keys / "keystore.db", provider, read_facts(ward.archive.home).hospital).close()


def test_copied_back_over_the_home_it_stays_closed(ward: Ward, tmp_path: Path) -> None:
    """Nobody asked two persons: the naive way."""
    home = tmp_path / "home"
    shutil.copytree(ward.archive.home, home, ignore=shutil.ignore_patterns("*.sock"))
    generation = ward.data / "generations" / "000001"
    for file in (home / "database").iterdir():
        file.unlink()
    shutil.copy(generation / "ribcage.db", home / "database" / "ribcage.db")
    shutil.copytree(ward.data / "objects", home / "objects", dirs_exist_ok=True)
    archive = ward.elsewhere(home)
    archive.start()
    try:
        assert [ward.read(archive, name) for name in (REVOKED, DESTROYED, KEPT)] == [503] * 3
        findings = archive.ask(p.GetStatus(), p.Status).findings
        assert any("older copy" in each for each in findings), findings
        assert json.dumps(findings).isascii()
    finally:
        archive.stop()
