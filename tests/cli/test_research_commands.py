"""Research from the command line: project, consent, a release that a stranger verifies, and who it was."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from helpers.deid_objects import ct, file_of, leaks
from helpers.guard_house import PASSPHRASE, new_home
from helpers.research_house import SECRETS
from ribcage.cli import settings
from ribcage.cli.main import main

TOOL = Path(__file__).resolve().parents[2] / "tools" / "verify_release.py"
STUDY, PATIENT = "1.2.3.1", "RB773401"


class Shell:
    """The commands of one home; each approval takes a code of its own, two in half a minute."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._persons: dict[str, tuple[str, pyotp.TOTP]] = {}
        self._last: dict[str, int] = {}

    def __call__(self, *words: str, by: str = "") -> tuple[int, str]:
        """Status and what was printed; in this process, so that it costs no second of imports."""
        given = [("--passphrase-fd", PASSPHRASE)]
        if by:
            given.append(("--approver-fd", self._approval(by)))
        options, descriptors = ["--home", str(self.home)], []
        for option, secret in given:
            reading, writing = os.pipe()
            os.write(writing, secret)
            os.close(writing)
            options += [option, str(reading)]
            descriptors.append(reading)
        told = io.StringIO()
        try:
            with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
                return main([*words, *options]), told.getvalue()
        finally:
            for each in descriptors:
                os.close(each)

    def person(self, name: str, role: str) -> None:
        told = self.good("person", "add", name, "--role", role).splitlines()
        password, uri = (line.split(": ", 1)[1] for line in told[1:3])
        self._persons[name] = (password, pyotp.parse_uri(uri))

    def good(self, *words: str, by: str = "") -> str:
        status, told = self(*words, by=by)
        assert status == 0, told
        return told

    def _approval(self, name: str) -> bytes:
        password, totp = self._persons[name]
        step = max(int(time.time()) // 30, self._last.get(name, 0) + 1)
        self._last[name] = step
        return json.dumps({"username": name, "password": password, "code": totp.generate_otp(step)}).encode()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("research")
    shell = Shell(new_home(folder))
    settings.save(shell.home, settings.Settings(hospital="Test Hospital"))
    for number in (1, 2):
        ds = ct(PatientID=PATIENT, StudyInstanceUID=STUDY, SOPInstanceUID=f"{STUDY}.{number}")
        (folder / f"{number}.dcm").write_bytes(file_of(ds))
    shell.good("import", str(folder / "1.dcm"), str(folder / "2.dcm"))
    shell.person("ou", "officer")
    shell.person("ada", "administrator")
    shell.person("eve", "administrator")
    yield shell


def test_from_a_project_to_a_name_again(shell: Shell, tmp_path: Path) -> None:
    out, request = tmp_path / "out", ("release", "lungs", str(tmp_path / "out"), "--study", STUDY)
    shell.good("project", "add", "lungs", "--officer", "ou", "--until", "2999-12-31")
    shell.good("grant", "project:lungs", f"study:{STUDY}", "--view", "full", "--purpose", "HRESCH")
    refused = shell(*request, by="ou")
    assert refused[0] == 1 and "consent-missing" in refused[1] and not out.exists()
    shell.good("consent", "give", PATIENT)
    assert "attested" in shell.good("consent", "show", PATIENT)
    told = shell.good(*request, by="ou")
    released = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert len(released) == 4 and leaks(b"".join(released), SECRETS) == []
    key, entry = told.split("--key '")[1].split("'")[0], told.split("entries ")[1].split()[0]
    shell.good("audit", "prove", entry, "--out", str(tmp_path / "proof.json"))
    checked = verified(out, "--key", key, "--proof", str(tmp_path / "proof.json"))
    assert checked.returncode == 0 and "PROVEN: 2 files of 1 log entries" in checked.stdout, checked.stderr
    assert "no proof" not in checked.stdout

    pseudonym = next(path.name for path in out.iterdir() if path.name != "reports")
    asked = ("project", "reidentify", pseudonym, "--project", "lungs", "--reason", "incidental-finding")
    shell.good(*asked, by="eve")
    alone = shell("project", "reidentify-approve", "1", pseudonym, by="eve")
    assert alone[0] == 2 and PATIENT not in alone[1]
    named = shell.good("project", "reidentify-approve", "1", pseudonym, by="ada")
    assert PATIENT in named and STUDY in named
    assert "done" in shell.good("project", "reidentify-list")

    path = next(out.rglob("*.dcm"))
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert "not the one" in verified(out, "--key", key).stderr
    path.unlink()
    assert "report for each file" in verified(out, "--key", key).stderr


def test_by_query_into_a_zip_and_not_without_asking_for_something(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    shell.good(
        "project", "add", "hearts", "--officer", "ada", "--until", "2999-12-31", "--profile", "ai-training"
    )
    shell.good("grant", "project:hearts", f"patient:{PATIENT}", "--view", "full", "--purpose", "HRESCH")
    shell.good("consent", "give", PATIENT)
    nothing = shell("release", "hearts", str(out))
    assert nothing[0] == 2 and "expected what to release" in nothing[1]
    told = shell.good("release", "hearts", str(out), "--modality", "CT", by="ada")
    assert "2 files of 1 studies" in told and leaks(out.read_bytes(), SECRETS) == []
    with zipfile.ZipFile(out) as made:
        assert [name.endswith((".dcm", ".note")) for name in made.namelist()] == [True] * 4
    assert "hearts" in shell.good("project", "list") and "ended" in shell.good("project", "end", "hearts")
    assert [each.name for each in tmp_path.iterdir()] == ["out.zip"]


def verified(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), str(out), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
