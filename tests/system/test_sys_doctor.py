"""The doctor beside real processes: a running archive, its listeners, and a guard that stopped answering."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from helpers.archive import Archive
from helpers.guard_house import PASSPHRASE
from ribcage.cli import doctor, settings
from ribcage.oversight.doctor.finding import Finding


def free_ports(count: int) -> list[int]:
    """Ports of this moment."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def examined(archive: Archive, passphrase: bytes | None) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for each in doctor.examine(archive.home, lambda _: passphrase, time.time()):
        found.setdefault(each.check, []).append(each)
    return found


def one(found: dict[str, list[Finding]], check: str) -> tuple[str, str]:
    """Level and text of a check that says one thing."""
    (finding,) = found[check]
    return finding.level, finding.text


def test_a_running_archive_a_frozen_guard_and_a_stopped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path)
    archive.create()
    dicom, https = free_ports(2)
    listen = settings.Listen(dicom_port=dicom, https_port=https)
    settings.save(archive.home, settings.Settings(hospital="Test", fronts=1, listen=listen))
    archive.start()
    try:
        found = examined(archive, PASSPHRASE)
        assert one(found, "processes") == ("ok", "the archive runs: 1 fronts, the guard answers")
        assert one(found, "home")[0] == one(found, "log")[0] == one(found, "certificates")[0] == "ok"
        assert "ports" not in {check for check, each in found.items() if each[0].level == "bad"}
        unlocked = examined(archive, None)
        assert one(unlocked, "processes")[0] == "ok"
        texts = [each.text for each in unlocked["certificates"]]
        assert "not checked: the listeners' certificate" not in texts  # it was seen on the listener
        guard = guard_of(archive)
        monkeypatch.setattr(doctor, "_PING_SECONDS", 0.3)
        os.kill(guard, signal.SIGSTOP)
        try:
            frozen = examined(archive, PASSPHRASE)
        finally:
            os.kill(guard, signal.SIGCONT)
        assert one(frozen, "processes") == (
            "bad",
            f"process {guard} has the home and does not answer on its socket",
        )
    finally:
        archive.stop()
    stopped = examined(archive, PASSPHRASE)
    assert one(stopped, "processes")[0] == "note"
    assert one(stopped, "home") == ("ok", "the home opens")


def guard_of(archive: Archive) -> int:
    """The child that is the guard."""
    for pid in archive.children():
        if b"guard_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no guard")
