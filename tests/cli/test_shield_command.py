"""`ribcage shield init`: what becomes a shield, what does not, and what is written."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from helpers.guard_house import new_home
from ribcage.cli import settings
from ribcage.cli.main import main


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = new_home(tmp_path)
    settings.save(
        made, settings.Settings(hospital="Test", listen=settings.Listen(dicom_port=0, https_port=0))
    )
    return made


def init(home: Path, pacs: str, *more: str) -> int:
    return main(["shield", "init", "--home", str(home), "--pacs", pacs, "--pacs-ae", "OLD", *more])


def test_a_new_home_becomes_the_shield_of_a_pacs_and_says_so_in_its_settings(
    home: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "shield.nft"
    assert (
        init(home, "127.0.0.1:11112", "--calling-ae", "SHIELD", "--firewall", str(rules), "--port", "8042")
        == 0
    )
    written = settings.load(home)
    assert written.shield == settings.Shield("127.0.0.1", 11112, "OLD", "SHIELD")
    assert written.guard_limits().shield_department == "radiology"
    assert (written.hospital, written.listen.dicom_port) == ("Test", 0)
    assert "8042, 11112" in rules.read_text()
    assert not rules.stat().st_mode & stat.S_IWOTH


@pytest.mark.parametrize(
    ("pacs", "more"),
    [
        ("8.8.8.8:104", ()),
        ("8.8.8.8:104", ("--isolated",)),
        ("10.0.0.9:104", ()),
        ("pacs.example.org:104", ("--isolated",)),
        ("127.0.0.1:0", ()),
        ("127.0.0.1", ()),
        ("127.0.0.1:104", ("--department", "")),
        ("127.0.0.1:104", ("--calling-ae", "LONGER THAN SIXTEEN")),
    ],
)
def test_a_pacs_that_others_could_listen_to_is_refused(home: Path, pacs: str, more: tuple[str, ...]) -> None:
    assert init(home, pacs, *more) == 2
    assert settings.load(home).shield.pacs() is None


def test_a_pacs_on_an_isolated_private_interface_is_taken_when_it_is_said(home: Path) -> None:
    assert init(home, "10.0.0.9:104", "--isolated") == 0


def test_an_archive_with_images_does_not_become_a_shield(home: Path) -> None:
    (home / "objects" / "ab").mkdir(parents=True)
    (home / "objects" / "ab" / "film.rbc").write_bytes(b"sealed")
    assert init(home, "127.0.0.1:104") == 2


def test_check_tells_that_nobody_answers(home: Path) -> None:
    assert main(["shield", "check", "--home", str(home)]) == 2
    assert init(home, "127.0.0.1:1") == 0
    assert main(["shield", "check", "--home", str(home)]) == 2
