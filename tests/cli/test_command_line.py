"""The command line as an administrator meets it at three in the morning: one line, a hint, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.cli import settings
from ribcage.cli.errors import UsageError
from ribcage.oversight.studies import make_study

PASSPHRASE = b"three in the morning"
TOOL = Path(__file__).resolve().parents[2] / "tools" / "verify_proof.py"


def ribcage(*words: str, passphrase: bytes | None = PASSPHRASE) -> subprocess.CompletedProcess[str]:
    """One command, with the passphrase on a descriptor."""
    command = [sys.executable, "-m", "ribcage.cli.main", *words]
    descriptors: tuple[int, ...] = ()
    if passphrase is not None:
        reading, writing = os.pipe()
        os.write(writing, passphrase)
        os.close(writing)
        command += ["--passphrase-fd", str(reading)]
        descriptors = (reading,)
    try:
        return subprocess.run(
            command,
            pass_fds=descriptors,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    finally:
        for each in descriptors:
            os.close(each)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("cli") / "home"
    made = ribcage("init", "--home", str(home), "--hospital", "Night Hospital")
    assert made.returncode == 0, made.stderr
    yield home


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line, after checking that it is one."""
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) <= 2
    assert lines[0].startswith("ribcage: ")
    return lines[0]


def test_wrong_passphrase_is_one_line(home: Path) -> None:
    assert "passphrase" in complaint(ribcage("status", "--home", str(home), passphrase=b"not the right one"))


def test_no_passphrase_and_no_terminal(home: Path) -> None:
    assert "no passphrase" in complaint(ribcage("status", "--home", str(home), passphrase=None))


def test_a_folder_that_is_no_home(tmp_path: Path) -> None:
    done = ribcage("status", "--home", str(tmp_path))
    assert "not a Ribcage home" in complaint(done)
    assert "ribcage init" in done.stderr


def test_init_does_not_touch_a_folder_with_content(home: Path) -> None:
    before = sorted(str(each) for each in home.rglob("*"))
    assert "not empty" in complaint(ribcage("init", "--home", str(home)))
    assert sorted(str(each) for each in home.rglob("*")) == before


def test_home_of_a_newer_program_is_refused(home: Path) -> None:
    facts = json.loads((home / "home.json").read_text())
    (home / "home.json").write_text(json.dumps(facts | {"format": 99}))
    try:
        assert "newer" in complaint(ribcage("status", "--home", str(home)))
    finally:
        (home / "home.json").write_text(json.dumps(facts))


def test_a_world_readable_provider_is_refused(home: Path) -> None:
    provider = home / "keys" / "provider.json"
    provider.chmod(0o644)
    try:
        assert "chmod" in complaint(ribcage("status", "--home", str(home)))
    finally:
        provider.chmod(0o600)


def test_an_observer_is_registered_and_the_numbers_are_shown(home: Path) -> None:
    words = ("device", "add", "prometheus", "--ae", "PROM", "--may", "observe", "--home", str(home))
    assert ribcage(*words).returncode == 0
    shown = ribcage("metrics", "--home", str(home))
    assert shown.returncode == 0
    assert "# TYPE ribcage_log_entries gauge" in shown.stdout
    assert "PROM" not in shown.stdout


def test_the_doctor_names_the_root_key_beside_a_new_home(home: Path) -> None:
    done = ribcage("doctor", "--home", str(home))
    assert done.returncode == 1
    assert "root key still lies beside the home" in done.stdout
    assert "Traceback" not in done.stderr


def test_import_is_resumable_and_names_what_it_refused(home: Path, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_bytes(make_study(3, number).file)
    (tmp_path / "notes.txt").write_text("no image")
    first = ribcage("import", str(tmp_path), "--home", str(home))
    assert first.returncode == 1
    assert "3 stored, 0 held already, 1 refused, of 4" in first.stdout
    assert "notes.txt" in first.stderr
    again = ribcage("import", str(tmp_path), "--home", str(home))
    assert "0 stored, 3 held already, 1 refused, of 4" in again.stdout


def test_persons_devices_grants_and_the_log(home: Path, tmp_path: Path) -> None:
    added = ribcage("person", "add", "li", "--role", "clinician", "--home", str(home))
    assert "otpauth://" in added.stdout
    twice = ribcage("person", "add", "li", "--role", "clinician", "--home", str(home))
    assert "registered already" in complaint(twice)
    device = ribcage(
        "device", "add", "cr1", "--ae", "CR1", "--may", "store", "--out", str(tmp_path), "--home", str(home)
    )
    assert device.returncode == 0
    assert (tmp_path / "cr1.key").stat().st_mode & 0o077 == 0
    said = ribcage(
        "device", "describe", "cr1", "--owner", "radiology", "--place", "room 17", "--home", str(home)
    )
    assert said.returncode == 0, said.stderr
    assert "radiology; room 17" in ribcage("device", "list", "--home", str(home)).stdout
    shown = ribcage("device", "show", "cr1", "--home", str(home)).stdout
    assert "room 17" in shown and "nothing yet" in shown
    granted = ribcage("grant", "person:li", "department:radiology", "--view", "masked", "--home", str(home))
    assert "on the ledger" in granted.stdout
    unknown = ribcage(
        "grant", "person:nobody", "department:radiology", "--view", "masked", "--home", str(home)
    )
    assert "nothing of that name" in complaint(unknown)
    shown = ribcage("audit", "show", "--home", str(home))
    assert "grant changed" in shown.stdout
    proof = tmp_path / "proof.json"
    proved = ribcage("audit", "prove", "1", "--out", str(proof), "--home", str(home))
    key = proved.stdout.strip().split("key is ")[1]
    checked = subprocess.run(
        [sys.executable, str(TOOL), str(proof), "--key", key], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    clean = ribcage("verify", "--home", str(home))
    assert clean.returncode == 0
    assert "verify: clean" in clean.stdout


def test_a_rule_with_priors_is_added_shown_and_refused(home: Path, tmp_path: Path) -> None:
    at = ("--home", str(home))
    ribcage("device", "add", "node", "--ae", "NODE", "--may", "retrieve", "--out", str(tmp_path / "n"), *at)
    assert (
        ribcage("destination", "add", "NODE", "--device", "node", "--at", "127.0.0.1:104", *at).returncode
        == 0
    )
    rule = ("route", "add", "--to", "NODE", "--modality", "CR")
    words = ("--priors", "3", "--prior-years", "5", "--prior-same", "either")
    added = ribcage(*rule, *words, *at)
    assert added.returncode == 0, added.stderr
    listed = ribcage("route", "list", *at).stdout
    assert "modality=CR  and 3 priors of the same modality or body part, at most 5 years old" in listed
    assert "number of priors" in complaint(ribcage(*rule, "--prior-years", "5", *at))
    complaint(ribcage(*rule, "--priors", "11", *at))
    nobody = ribcage("destination", "check", "NODE", *at)
    assert "destination NODE: nothing listens there" in complaint(nobody)
    assert ribcage("commitment", "list", *at).stdout == "0 reports\n"
    assert "nothing of that name" in complaint(ribcage("commitment", "retry", "7", *at))


def test_a_public_address_must_be_named(tmp_path: Path) -> None:
    for address in ("8.8.8.8", "0.0.0.0", "::"):
        listen = settings.Listen(dicom_address=address)
        with pytest.raises(UsageError, match="reached from outside"):
            settings.Settings(listen=listen).validate()
    settings.Settings(listen=settings.Listen(dicom_address="8.8.8.8", public=["8.8.8.8"])).validate()


def test_a_demo_home_stays_on_loopback() -> None:
    with pytest.raises(UsageError, match="loopback"):
        settings.Settings(demo=True, listen=settings.Listen(https_address="10.0.0.5")).validate()


def test_unknown_settings_are_refused(tmp_path: Path) -> None:
    settings.save(tmp_path, settings.Settings())
    with (tmp_path / "settings.toml").open("a") as file:
        file.write("disable_audit = true\n")
    with pytest.raises(UsageError, match="disable_audit"):
        settings.load(tmp_path)
