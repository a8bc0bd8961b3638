"""A disk that fails, turns read-only or is slow, under the running archive and real peers."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from faults.ailing import BROKEN, NOT_STORED, OUT_OF_RESOURCES, REFUSED, Ailing, remount, until
from faults.inject import Call
from ribcage.guard import protocol as p
from system.senders import SUCCESS

HTTP_REFUSED = (503, 507)


@pytest.mark.parametrize(
    ("call", "error", "dimse", "http"),
    [
        (Call.OPEN, errno.EROFS, NOT_STORED, 503),
        (Call.WRITE, errno.EIO, NOT_STORED, 503),
        (Call.WRITE, errno.ENOSPC, OUT_OF_RESOURCES, 507),
        (Call.SYNC, errno.EIO, NOT_STORED, 503),
    ],
)
def test_object_that_cannot_be_written_is_refused_and_leaves_nothing(
    ailing: Ailing, call: Call, error: int, dimse: int, http: int
) -> None:
    late, files = ailing.fresh(), ailing.files()
    with ailing.association(late) as association:
        fault = ailing.faults.fail(call, ailing.objects, error)
        assert ailing.send_on(association, late) == dimse
        assert ailing.stow(late) == http
        assert fault.end() >= 2
        assert ailing.files() == files
        assert not ailing.knows(late)
        assert ailing.send_on(association, late) == SUCCESS  # the association is as good as before
    assert len(ailing.files()) == len(files) + 1


def test_object_that_cannot_be_read_is_cut_or_refused_and_comes_back(ailing: Ailing) -> None:
    fault = ailing.faults.fail(Call.READ, ailing.objects)
    assert ailing.read(ailing.held[0]) in (BROKEN, 500, 503)
    assert fault.end() > 0
    assert ailing.read(ailing.held[0]) == 200


def test_read_only_objects_disk_stops_storing_and_nothing_else(ailing: Ailing) -> None:
    if not ailing.mounted:
        pytest.skip("a disk of its own can be mounted and remounted by root only")
    late, files = ailing.fresh(), ailing.files()
    with ailing.association(late) as association:
        remount(ailing.objects, "ro")
        try:
            until(lambda: ailing.ready() == "closed: disk", ailing.tail)
            assert ailing.send_on(association, late) == OUT_OF_RESOURCES
            assert ailing.stow(late) == 507
            assert ailing.read(ailing.held[0]) == 200
            findings = ailing.archive.ask(p.GetStatus(), p.Status).findings
            assert any("objects: the file system is read-only" in each for each in findings)
        finally:
            remount(ailing.objects, "rw")
        until(lambda: ailing.send_on(association, late) == SUCCESS, ailing.tail)
    assert len(ailing.files()) == len(files) + 1


def test_database_that_turns_read_only_closes_and_opens_by_itself(ailing: Ailing) -> None:
    """However long it takes: the guard is tried again until the disk is right, and nobody has to ask."""
    late, files, home = ailing.fresh(), ailing.files(), ailing.archive.home
    with ailing.association(late) as association:
        fault = ailing.faults.fail(Call.WRITE, home / "database", errno.EROFS)
        assert ailing.send_on(association, late) == NOT_STORED
        assert ailing.stow(late) in HTTP_REFUSED
        assert ailing.read(ailing.held[0]) == 503
        until(lambda: fault.hits >= 3, ailing.tail)
        assert ailing.ready() == "closed: guard"
        assert not ailing.operator(p.RevokeGrant(grant_id=1))
        fault.end()
        ailing.until_ready()
        assert ailing.read(ailing.held[0]) == 200  # the revocation that was refused did not happen
        assert not ailing.knows(late)
        assert ailing.send_on(association, late) == SUCCESS
    assert len(ailing.files()) == len(files) + 1


def test_key_store_that_cannot_be_written_is_a_plain_no(ailing: Ailing) -> None:
    """Its library tells a write from a sync: the guard lives, nothing is left behind, and it mends by itself."""
    late, files, guard = ailing.fresh(), ailing.files(), ailing.guard
    fault = ailing.faults.fail(Call.WRITE, ailing.archive.home / "keys")
    assert ailing.send(late) == NOT_STORED
    assert ailing.stow(late) in HTTP_REFUSED
    assert ailing.read(ailing.held[0]) == 503  # a key that waits to be durable holds every commit back
    assert ailing.ready() == "closed: disk"
    assert fault.end() >= 2
    ailing.until_ready()
    assert ailing.guard == guard
    assert ailing.files() == files
    assert ailing.send(late) == SUCCESS


@pytest.mark.parametrize("folder", ["database", pytest.param("keys", marks=pytest.mark.soak)])
def test_failed_sync_ends_the_guard_and_nothing_is_taken_for_durable(ailing: Ailing, folder: str) -> None:
    """docs/adr/0009: neither yes nor no; the guard is another process afterwards, and the sender sends again."""
    late, guard = ailing.fresh(), ailing.guard
    with ailing.association(late) as association:
        fault = ailing.faults.fail(Call.SYNC, ailing.archive.home / folder, times=1)
        assert ailing.send_on(association, late) == NOT_STORED
        until(lambda: fault.hits == 1)
        until(lambda: ailing.guard not in (0, guard), ailing.tail)
        ailing.until_ready()
        assert ailing.send_on(association, late) == SUCCESS  # on the association that stood all the time
    assert "a commit is in doubt (SQLITE_IOERR" in ailing.log_of_processes()


def test_guard_does_not_open_a_home_whose_log_the_disk_does_not_take(ailing: Ailing) -> None:
    """Syncs go on failing: each start fails before anything is answered; readers and senders hear no."""
    late = ailing.fresh()
    fault = ailing.faults.fail(Call.SYNC, ailing.archive.home / "database")
    assert ailing.send(late) in (*REFUSED, BROKEN)
    until(lambda: fault.hits >= 3, ailing.tail)
    assert ailing.ready() == "closed: guard"
    assert ailing.read(ailing.held[0]) in (503, 401)
    assert ailing.send(late) in (*REFUSED, BROKEN)
    fault.end()
    ailing.until_ready()
    assert ailing.send(late) == SUCCESS


def test_slow_disk_makes_storing_slow_and_loses_nothing(ailing: Ailing) -> None:
    slow = 0.15
    fault = ailing.faults.fail(Call.SYNC, ailing.archive.home, 0, delay_seconds=slow)
    began = time.monotonic()
    assert ailing.send(ailing.fresh()) == SUCCESS
    assert fault.hits >= 3
    assert time.monotonic() - began > 3 * slow  # the answer came after each of its syncs
    assert ailing.read(ailing.held[-1]) == 200
    assert ailing.ready() == "ready"


def test_control_the_injector_is_in_all_processes(ailing: Ailing) -> None:
    """The control of all of them: each process has the library and the control file."""
    for process in (ailing.supervisor, ailing.guard, ailing.front):
        maps = Path(f"/proc/{process}/maps").read_text()
        assert "inject.so" in maps and "inject-control" in maps
