"""What is known of a device: owner and place by an operator, the rest as its own instances say; nothing decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from helpers.guard_house import Clock, House, attributes, new_house
from ribcage.database.device_tables import device_fact
from ribcage.guard import protocol as p
from ribcage.guard.equipment import Equipment
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits

Said = dict[str, str]
ONE: Said = {
    "manufacturer": "ACME",
    "model_name": "Ray 3000",
    "serial_number": "SN-1",
    "software_versions": "1.0\\2.4",
}


def play(folder: Path, act: Callable[[House, p.Device, Clock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            await act(house, await house.device("cr-1", "CR1", ["store"]), clock)

    asyncio.run(run())


async def item(house: House) -> p.DeviceItem:
    return (await house.admin.call(p.ListDevices(), p.DeviceItems)).items[0]


async def reported(house: House) -> tuple[str, ...]:
    told = await item(house)
    return told.manufacturer, told.model, told.serial_number, told.software_versions


async def send(house: House, device: p.Device, number: int, **said: str) -> None:
    assert isinstance(await house.store(device, attributes(number, **said), b"x%d" % number), p.Committed)


def test_the_newest_instance_says_what_the_device_is_and_owner_and_place_stay(tmp_path: Path) -> None:
    async def act(house: House, device: p.Device, clock: Clock) -> None:
        assert (await item(house)).reported_at == 0
        await house.admin.call(p.DescribeDevice("cr-1", "radiology", "room 17"), p.Noted)
        await send(house, device, 1, **ONE)
        assert await reported(house) == tuple(ONE.values())
        since = (await item(house)).reported_at
        clock.ahead += 601
        await send(house, device, 2, **ONE)
        await send(house, device, 3)  # says nothing
        assert (await item(house)).reported_at == since
        await send(house, device, 4, **ONE | {"software_versions": "3.0"})
        told = await item(house)
        assert (told.software_versions, told.owner, told.place) == ("3.0", "radiology", "room 17")
        await house.admin.call(p.DescribeDevice("cr-1", place=""), p.Noted)
        told = await item(house)
        assert (told.owner, told.place, told.model) == ("radiology", "", "Ray 3000")

    play(tmp_path, act)


def test_who_sends_for_many_machines_writes_once_in_ten_minutes(tmp_path: Path) -> None:
    async def act(house: House, device: p.Device, clock: Clock) -> None:
        for number in range(1, 6):
            await send(house, device, number, **ONE | {"serial_number": f"SN-{number}"})
        assert (await reported(house))[2] == "SN-1"
        clock.ahead += 601
        await send(house, device, 6, **ONE | {"serial_number": "SN-6"})
        assert (await reported(house))[2] == "SN-6"

    play(tmp_path, act)


def test_a_device_cannot_flood_or_forge_the_list_with_what_it_says(tmp_path: Path) -> None:
    async def act(house: House, device: p.Device, _: Clock) -> None:
        await send(
            house, device, 1, manufacturer="A" * 500, model_name="x\x1b[2J\ny", software_versions="9" * 999
        )
        maker, model, serial, versions = await reported(house)
        assert (len(maker), model, serial, len(versions)) == (64, "x [2J y", "", 256)

    play(tmp_path, act)


def test_what_an_instance_says_gives_no_right(tmp_path: Path) -> None:
    async def act(house: House, device: p.Device, _: Clock) -> None:
        before = await house.front.call(p.CheckDevice(device, "RIBCAGE", "associate"), p.DeviceKnown)
        await send(house, device, 1, **ONE)
        after = await house.front.call(p.CheckDevice(device, "RIBCAGE", "associate"), p.DeviceKnown)
        assert before == after

    play(tmp_path, act)


@pytest.mark.parametrize("wrong", ["x" * 65, "room\n17", "\x1b[2J"])
def test_owner_and_place_are_one_short_line(wrong: str, tmp_path: Path) -> None:
    async def act(house: House, _: p.Device, __: Clock) -> None:
        with pytest.raises(GuardRefused, match="invalid"):
            await house.admin.call(p.DescribeDevice("cr-1", wrong), p.Noted)
        with pytest.raises(GuardRefused, match="not_found"):
            await house.admin.call(p.DescribeDevice("nobody", "radiology"), p.Noted)
        assert (await item(house)).owner == ""

    play(tmp_path, act)


def test_facts_live_through_a_restart_and_a_forged_row_does_not(tmp_path: Path) -> None:
    async def act(house: House, device: p.Device, _: Clock) -> None:
        await send(house, device, 1, **ONE)
        await house.admin.call(p.DescribeDevice("cr-1", "radiology"), p.Noted)
        with house.server._core.engine.connect() as connection:
            row = connection.execute(sa.select(device_fact)).mappings().one()
        assert (row["owner"], row["serial_number"]) == ("radiology", "SN-1")
        again = Equipment(house.server._core.engine, house.server._core.rows)
        assert again.of(bytes(row["id"])).serial_number == "SN-1" and not again.findings
        with house.server._core.engine.begin() as connection:
            connection.execute(sa.update(device_fact).values(owner="nobody"))
        forged = Equipment(house.server._core.engine, house.server._core.rows)
        assert forged.of(bytes(row["id"])).owner == "" and len(forged.findings) == 1

    play(tmp_path, act)


def test_a_shield_learns_it_from_what_it_passes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path, limits=GuardLimits(shield_department="radiology")) as house:
            device = await house.device("cr-1", "CR1", ["store"])
            passed = p.PassedElsewhere(device, "dimse", attributes(1, **ONE), bytes(32), 10)
            await house.front.call(passed, p.Noted)
            assert await reported(house) == tuple(ONE.values())

    asyncio.run(run())
