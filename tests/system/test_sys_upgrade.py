"""A home of each earlier version opens with all that is in it; one that cannot is refused, unchanged, with advice."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest

from helpers.archive import Archive, Browser, new_archive, parts
from helpers.backups import ribcage
from helpers.guard_house import edit
from helpers.older_homes import make_older, revisions
from ribcage import __version__
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, Instance, instance_of, send

# Each database revision with the first key store format, and the newest of each with the other's predecessor.
EARLIER = [*((revision, 1) for revision in revisions()), (revisions()[-2], 2)]


@dataclass(frozen=True)
class Old:
    """A stopped archive with a film, a doctor who may see it and one who may not any more."""

    folder: Path
    film: Instance
    allowed: p.PersonAdded
    revoked: p.PersonAdded

    def copy(self, folder: Path) -> Archive:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Archive(folder)

    def browser(self, archive: Archive, person: p.PersonAdded) -> Browser:
        """They log in again: sessions end with an upgrade that changed what they are bound to."""
        totp = pyotp.parse_uri(person.totp_uri)
        browser = Browser(archive, totp)
        assert browser.log_in(str(totp.name), person.password).status == 200
        return browser


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    folder = tmp_path_factory.mktemp("old")
    film = instance_of(make_study(53, 1).file)
    with new_archive(folder) as archive:
        modality = archive.device("cr1", "CR1", "store")
        assert send(archive, modality, film) == SUCCESS
        wu, li = (archive.ask(p.AddPerson(name, name, ["clinician"]), p.PersonAdded) for name in ("wu", "li"))
        archive.grant("person:wu", f"study:{film.study}", "full")
        archive.revoke(archive.grant("person:li", f"study:{film.study}", "full"))
    return Old(folder, film, wu, li)


@pytest.mark.parametrize(("revision", "key_store"), EARLIER)
def test_home_of_an_earlier_version_opens_with_everything_in_it(
    old: Old, tmp_path: Path, revision: str, key_store: int
) -> None:
    archive = old.copy(tmp_path)
    make_older(archive.home, revision, key_store)
    archive.start()
    try:
        doctor = old.browser(archive, old.allowed)
        assert doctor.step_up().status == 200
        (file,) = parts(doctor.retrieve(old.film.path, X_Ribcage_View="full"))
        assert file.endswith(old.film.data_set)
        refused = old.browser(archive, old.revoked).retrieve(old.film.path)
        assert refused.status == 403, "what was revoked stays revoked"
        another = instance_of(make_study(53, 2).file)
        assert send(archive, archive.device("cr2", "CR2", "store"), another) == SUCCESS
        assert archive.verify().differences == []
    finally:
        archive.stop()
    assert edit(archive.home, f"UPDATE meta SET value = value WHERE value = '{__version__}'") == 1


def test_home_of_a_newer_version_is_refused_with_the_version_to_install(old: Old, tmp_path: Path) -> None:
    archive = old.copy(tmp_path)
    edit(archive.home, "UPDATE alembic_version SET version_num = '9999'")
    edit(archive.home, "UPDATE meta SET value = '7.5' WHERE name = 'program'")
    before = (archive.home / "database" / "ribcage.db").read_bytes()
    said = ribcage("status", "--home", archive.home)
    assert said.returncode == 2
    assert "install Ribcage 7.5 or newer; nothing was changed" in said.stderr
    assert f"this is {__version__}" in said.stderr
    assert "Traceback" not in said.stderr
    assert (archive.home / "database" / "ribcage.db").read_bytes() == before
