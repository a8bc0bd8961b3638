"""Room on the disk: storing stops first, the log's own room is never taken by images, and everything mends itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable
from pathlib import Path

import pytest

from helpers.guard_house import House, attributes, new_house
from helpers.refusals import reason
from ribcage.guard import protocol as p
from ribcage.guard.committer import _is_full
from ribcage.guard.disk import DiskWatch, free_bytes
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits

MIB = 1 << 20
QUICK = GuardLimits(checkpoint_seconds=0.05, disk_stop_mib=8, disk_reserve_mib=4)


class Disk:
    """Free bytes as a test wants them; every look is a fresh one."""

    def __init__(self, free: int = 1000 * MIB) -> None:
        self.free = free
        self.moment = 0.0

    def now(self) -> float:
        self.moment += 1.0
        return self.moment

    def watch(self, folder: Path) -> DiskWatch:
        for name in ("objects", "database", "keys"):
            (folder / name).mkdir(exist_ok=True)
        return DiskWatch(folder, 8 * MIB, 4 * MIB, self.now, lambda _folder: self.free)


def reserve(folder: Path) -> int:
    return (folder / "database" / "reserve").stat().st_blocks * 512


def test_storing_stops_below_the_watermark_and_goes_on_above_it(tmp_path: Path) -> None:
    disk = Disk()
    watch = disk.watch(tmp_path)
    assert reserve(tmp_path) >= 4 * MIB  # real blocks, not a hole
    watch.check_may_store()
    disk.free = 8 * MIB - 1
    with pytest.raises(GuardRefused) as caught:
        watch.check_may_store()
    assert caught.value.reason == "no_space"
    watch.check_may_disclose()  # reading goes on
    assert reserve(tmp_path) >= 4 * MIB  # untouched
    disk.free = 8 * MIB
    watch.check_may_store()


def test_the_reserve_is_given_up_once_and_made_again_by_itself(tmp_path: Path) -> None:
    disk = Disk()
    watch = disk.watch(tmp_path)
    disk.free = 0
    assert watch.give_up_reserve() is True
    assert reserve(tmp_path) == 0
    assert watch.give_up_reserve() is False  # a second time there is nothing to give
    with pytest.raises(GuardRefused):
        watch.check_may_disclose()
    assert "reserve" in watch.findings()[0]
    disk.free = 9 * MIB
    watch.look()
    assert watch.exhausted  # room for images is not yet room for the reserve
    disk.free = 100 * MIB
    assert watch.look() is True
    assert reserve(tmp_path) >= 4 * MIB
    watch.check_may_store()
    assert watch.findings() == []


def test_a_folder_that_cannot_be_asked_has_no_room(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "gone") == 0


@pytest.mark.parametrize(
    ("failure", "full"),
    [
        (sqlite3.OperationalError("database or disk is full"), True),
        (OSError(28, "No space left on device"), True),
        (OSError(5, "Input/output error"), False),
        (ValueError("the cup is full"), False),
    ],
)
def test_only_a_lack_of_room_costs_the_reserve(failure: Exception, full: bool) -> None:
    outer = RuntimeError("wrapped")
    outer.__cause__ = failure
    assert _is_full(failure) is full
    assert _is_full(outer) is full


# --- in the guard ---------------------------------------------------------------------------------------


def test_below_the_watermark_peers_are_told_and_readers_served(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path, QUICK) as house:
            device = await ward(house)
            disk = house.server._core.disk
            disk._free, disk._looked_at = (lambda _folder: MIB), -1.0
            late = house.store(device, attributes(2), bytes(100))
            assert await reason(late) == "no_space"
            assert (await disclose(house, device)).view == "full"
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert any("storing stops" in each for each in status.findings)
            disk._free, disk._looked_at = free_bytes, -1.0
            assert isinstance(await house.store(device, attributes(2), bytes(100)), p.Committed)
            assert await house.verify() == []

    asyncio.run(run())


def test_a_commit_without_room_lives_on_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One failing commit: the batch is tried again on the reserve, revocations included; nobody is disclosed to."""

    async def run() -> None:
        async with new_house(tmp_path, QUICK) as house:
            device = await ward(house)
            core = house.server._core
            write_tiles = core.log.write_tiles
            disk = core.disk
            disk._free, disk._looked_at = (lambda _folder: 0), -1.0

            def full(connection: object) -> None:
                if not disk.exhausted:
                    raise sqlite3.OperationalError("database or disk is full")
                write_tiles(connection)

            monkeypatch.setattr(core.log, "write_tiles", full)
            await house.admin.call(p.RevokeGrant(grant_id=1), p.Noted)
            assert disk.exhausted
            assert await reason(disclose(house, device)) == "unavailable"
            assert await reason(house.store(device, attributes(2), bytes(100))) == "no_space"
            monkeypatch.undo()
            disk._free, disk._looked_at = free_bytes, -1.0
            async with asyncio.timeout(10):
                while disk.exhausted:
                    await asyncio.sleep(0.02)
            assert await reason(disclose(house, device)) == "not_permitted"  # the revocation is in force
            assert isinstance(await house.store(device, attributes(2), bytes(100)), p.Committed)
            assert await house.verify() == []

    asyncio.run(run())


async def ward(house: House) -> p.Device:
    device = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
    await house.store(device, attributes(1), bytes(3000))
    await house.admin.call(p.AddGrant("device:ws-1", "study:1.2.3.1", "full"), p.GrantAdded)
    return device


def disclose(house: House, device: p.Device) -> Awaitable[p.Disclosed]:
    ask = p.Disclose(principal=device, channel="dimse", study_instance_uid="1.2.3.1")
    return house.front.call(ask, p.Disclosed)
