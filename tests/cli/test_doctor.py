"""The doctor on real homes with planted faults: each is found, none ends in a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from helpers.guard_house import PASSPHRASE, House, edit, new_home, new_house, running
from ribcage.cli import doctor, machine_facts, main, settings
from ribcage.database.errors import MigrationFailed
from ribcage.guard.errors import GuardUnavailable
from ribcage.guard.home import RESTORING, SUPERSEDED, lock_home
from ribcage.oversight.doctor.finding import Finding
from ribcage.oversight.doctor.machine import DICOM_PORTS

YEARS = 10 * 365 * 86400.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = new_home(tmp_path)
    settings.save(made, settings.Settings(listen=settings.Listen(dicom_port=0, https_port=0)))
    return made


def examined(home: Path, passphrase: bytes | None = PASSPHRASE, now: float | None = None) -> list[Finding]:
    return doctor.examine(home, lambda _demo: passphrase, time.time() if now is None else now)


def of(found: list[Finding], check: str) -> set[str]:
    """Levels of one check."""
    return {each.level for each in found if each.check == check}


def said(found: list[Finding], level: str) -> str:
    return "\n".join(f"{each.check}: {each.text}" for each in found if each.level == level)


def live(folder: Path, story: Callable[[House], None]) -> None:
    """`story` on a thread, beside a running guard."""

    async def run() -> None:
        async with new_house(folder) as house:
            listen = settings.Listen(dicom_port=0, https_port=0)
            settings.save(house.home, settings.Settings(listen=listen))
            await asyncio.to_thread(story, house)

    asyncio.run(run())


def test_a_sound_home_is_called_sound(home: Path) -> None:
    found = examined(home)
    sound = ("home", "certificates", "files", "log", "ledger")
    assert {check: of(found, check) for check in sound} == {check: {"ok"} for check in sound}
    assert of(found, "witness") == {"note"}
    assert "sync takes" in said(found, "ok")
    assert "cheap to guess" in said(found, "bad")  # test homes take a cheap Argon2id


def test_a_running_archive_is_asked(tmp_path: Path) -> None:
    def story(house: House) -> None:
        before = house.server._core.log.size
        found = examined(house.home)
        assert of(found, "home") == of(found, "log") == {"ok"}
        assert "a guard answers" in said(found, "note")
        assert house.server._core.log.size == before  # looking leaves nothing behind

    live(tmp_path, story)


def test_without_a_passphrase_it_says_what_it_could_not_see(home: Path) -> None:
    found = examined(home, None)
    unseen = {each.check for each in found if each.text.startswith("not checked")}
    assert unseen == {"home", "clock", "certificates", "log", "ledger", "sending queue", "witness"}
    assert of(found, "files") == {"ok"}


def test_expired_certificates_and_those_of_devices_are_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            await house.device("ct-west", "CT1", ["store"])
            settings.save(house.home, settings.Settings())
            now = time.time() + YEARS
            found = await asyncio.to_thread(examined, house.home, PASSPHRASE, now)
            bad = said(found, "bad")
            assert "the listeners' certificate: expired" in bad
            assert "the issuing authority: expired" in bad
            assert "devices ct-west are refused" in said(found, "warning")

    asyncio.run(run())


def test_a_clock_that_was_stepped_is_found_by_the_guard(tmp_path: Path) -> None:
    def story(house: House) -> None:
        house.server._core.clock_watch._anchor_wall -= 4000
        assert "clock: the clock was stepped forward by 4000 s" in said(examined(house.home), "bad")

    live(tmp_path, story)


def test_a_clock_before_the_newest_file_is_found_without_the_guard(home: Path) -> None:
    found = examined(home, None, time.time() - 7200)
    assert "behind the newest file" in said(found, "bad")


def test_removed_checkpoints_are_found(tmp_path: Path) -> None:
    def story(house: House) -> None:
        assert of(examined(house.home), "log") == {"ok"}
        assert edit(house.home, "DELETE FROM checkpoint") > 0
        assert "checkpoints were removed" in said(examined(house.home), "bad")

    live(tmp_path, story)


def test_a_removed_entry_is_found(tmp_path: Path) -> None:
    def story(house: House) -> None:
        assert edit(house.home, "DELETE FROM log_leaf WHERE number = 0") == 1
        assert "1 of the newest entries are missing" in said(examined(house.home), "bad")

    live(tmp_path, story)


def test_what_a_removed_entry_leaves_after_a_restart_is_found(home: Path) -> None:
    async def once() -> None:
        async with running(home):
            pass

    asyncio.run(once())
    assert edit(home, "DELETE FROM log_leaf WHERE number = 0") == 1
    bad = said(examined(home), "bad")
    assert "guard: " in bad
    assert "log: 1 of the newest entries are missing" in bad


# --- homes that do not open -------------------------------------------------------------------------------


def newer(home: Path) -> None:
    facts = json.loads((home / "home.json").read_text())
    (home / "home.json").write_text(json.dumps(facts | {"format": 99}))


def other_provider(home: Path) -> None:
    path = home / "keys" / "provider.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


CLOSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "newer": (newer, "this home has format 99"),
    "newer provider": (other_provider, "provider.json has format 99"),
    "superseded": (lambda home: (home / SUPERSEDED).touch(), "a restore went on elsewhere"),
    "restoring": (lambda home: (home / RESTORING).touch(), "is not finished"),
    "no home.json": (lambda home: (home / "home.json").unlink(), "has no home.json"),
    "torn home.json": (lambda home: (home / "home.json").write_text("{"), "home.json is damaged"),
    "open provider": (lambda home: (home / "keys/provider.json").chmod(0o644), "others may read provider.json"),
    "torn provider": (lambda home: (home / "keys/provider.json").write_text("{}"), "no key provider file"),
    "no provider": (lambda home: (home / "keys/provider.json").unlink(), "cannot read provider.json"),
    "no key store": (lambda home: (home / "keys/keystore.db").unlink(), "keystore.db is missing"),
    "torn key store": (lambda home: (home / "keys/keystore.db").write_bytes(b"x" * 8192), "the key store"),
    "torn database": (lambda home: (home / "database/ribcage.db").write_bytes(b"x" * 8192), "database"),
    "no database": (lambda home: (home / "database/ribcage.db").unlink(), "ribcage.db is missing"),
    "no settings": (lambda home: (home / "settings.toml").unlink(), "is not a Ribcage home"),
    "torn settings": (lambda home: (home / "settings.toml").write_text("fronts = 'x'"), "settings.toml"),
    "no run folder": (lambda home: (home / "run").rmdir(), "the home cannot be opened"),
}  # fmt: skip


@pytest.mark.parametrize("fault", CLOSED)
def test_a_home_that_does_not_open_gets_a_diagnosis(fault: str, home: Path) -> None:
    plant, words = CLOSED[fault]
    plant(home)
    for passphrase in (PASSPHRASE, None):
        found = examined(home, passphrase)
        assert all(each.remedy for each in found if each.level == "bad")
    bad = said(examined(home), "bad")
    assert words in bad, bad
    assert "home: " in bad
    if fault == "no database":
        assert not list((home / "database").iterdir())  # nothing was made in its place


def test_a_wrong_passphrase_is_said(home: Path) -> None:
    assert "home: the passphrase does not open this home" in said(
        examined(home, b"not the passphrase"), "bad"
    )


def test_a_wrong_passphrase_is_said_by_the_running_guard_too(tmp_path: Path) -> None:
    def story(house: House) -> None:
        found = examined(house.home, b"not the passphrase")
        assert "the passphrase does not open this home" in said(found, "bad")
        assert "a guard answers" in said(found, "note")

    live(tmp_path, story)


def test_a_home_held_by_a_process_that_does_not_answer_is_not_touched(home: Path) -> None:
    lock = lock_home(home)
    try:
        found = examined(home)
    finally:
        os.close(lock)
    assert f"process {os.getpid()} has the home and does not answer" in said(found, "bad")


def test_a_guard_that_hangs_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PING_SECONDS", 0.2)
    lock = lock_home(home)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(home / "run" / "guard.sock"))
        silent.listen()
        found = examined(home)
    os.close(lock)
    assert "does not answer on its socket" in said(found, "bad")


# --- the machine ------------------------------------------------------------------------------------------


def test_a_disk_below_the_watermark_is_found(home: Path) -> None:
    listen = settings.Listen(dicom_port=0, https_port=0)
    settings.save(home, settings.Settings(disk_stop_mib=1 << 40, listen=listen))
    assert "storing stops below" in said(examined(home, None), "bad")


def test_readable_keys_and_a_synchronised_folder_are_found(home: Path) -> None:
    home.chmod(0o755)
    (home / "keys").chmod(0o755)
    (home / "keys" / "keystore.db").chmod(0o644)
    (home / ".stfolder").mkdir()
    found = examined(home, None)
    assert "others may use keys/keystore.db (mode 0644)" in said(found, "bad")
    assert ".stfolder" in said(found, "warning")


def test_a_new_database_is_the_archives_alone(home: Path) -> None:
    assert {each.stat().st_mode & 0o077 for each in (home / "database").iterdir()} == {0}


@pytest.fixture
def plain() -> Iterator[socket.socket]:
    """A listener on a DICOM port that speaks no TLS, for one connection."""
    with socket.socket() as listener:
        for port in (4242, 11112, 2761, 2762):
            try:
                listener.bind(("127.0.0.1", port))
                break
            except OSError:
                continue
        else:
            pytest.skip("every DICOM port of this machine is taken")
        listener.listen()
        yield listener


def test_another_listener_on_a_dicom_port_is_named(plain: socket.socket, home: Path) -> None:
    port = plain.getsockname()[1]
    assert port in DICOM_PORTS
    mine = [each for each in machine_facts.listeners(()) if each.port == port]
    assert [(each.address, bool(each.program)) for each in mine] == [("127.0.0.1", True)]
    assert [each for each in machine_facts.listeners((port,)) if each.port == port] == []
    assert f"listens on 127.0.0.1 port {port}" in said(examined(home, None), "note")


def test_a_listener_without_tls_and_one_that_is_not_there_are_told_apart(plain: socket.socket) -> None:
    def answer() -> None:
        with plain.accept()[0] as link:
            link.recv(64)
            link.sendall(b"\x03\0\0\0\0\x04\0\x01\x01\x01")  # A-ASSOCIATE-RJ

    thread = threading.Thread(target=answer)
    thread.start()
    port = plain.getsockname()[1]
    assert machine_facts.tls_answer("127.0.0.1", port) == ("plain", b"")
    thread.join()
    plain.close()
    assert machine_facts.tls_answer("127.0.0.1", port)[0] == "refused"


def test_the_kernels_tables_are_read_as_they_are() -> None:
    text = "Limit                     Soft Limit           Hard Limit           Units     \n"
    text += "Max open files            1024                 524288               files     \n"
    text += "Max locked memory         unlimited            unlimited            bytes     \n"
    assert machine_facts._limits_of(text) == {"Max open files": 1024, "Max locked memory": -1}
    assert machine_facts._address("0100007F", socket.AF_INET) == "127.0.0.1"
    loopback = "00000000000000000000000001000000"
    assert machine_facts._address(loopback, socket.AF_INET6) == "::1"
    assert machine_facts.mount_kind(Path("/proc/self")) == "proc"
    assert machine_facts.sync_seconds(Path("/proc")) is None
    synchronised, error = machine_facts.ntp()
    assert synchronised in (True, False, None)
    assert error is None or error >= 0


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_tells_people_and_programs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.chmod(0o755)
    assert main.main(["doctor", "--home", str(home), "--no-passphrase"]) == 1
    text = capsys.readouterr().out
    assert "others may use the home" in text
    assert "chmod go-rwx" in text
    assert main.main(["doctor", "--home", str(home), "--no-passphrase", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"level", "findings"}
    assert all(set(each) == {"check", "level", "text", "remedy"} for each in report["findings"])


def test_a_folder_that_is_not_there_is_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", "--home", str(tmp_path / "nowhere"), "--no-passphrase"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_status_0_when_nothing_needs_a_person(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        doctor, "examine", lambda *_: [Finding("clock", "ok", "right"), Finding("a", "note", "b")]
    )
    assert main.main(["doctor", "--home", str(home)]) == 0
    assert capsys.readouterr().out.endswith("0 findings need a person\n")


def test_foreign_messages_stay_out_of_the_report() -> None:
    for failure in (ValueError("Wang^Wangshu"), sa.exc.OperationalError("Wang^Wangshu", {}, Exception("x"))):
        trouble, text = doctor._trouble(failure)
        assert trouble in ("other", "database")
        assert "Wang" not in text
    assert doctor._trouble(MigrationFailed("the step failed"))[0] == "newer"
    assert "not durable" in doctor._trouble(GuardUnavailable("not durable: OperationalError"))[1]
