"""Attacks on C-GET and C-MOVE: a device that may not, a recipient that may not, an impostor at an address.

Each tells whether it succeeded. The first three play against a guard, the last against a whole front.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import uvloop

from attacks.guard_attacks import against_guard, answered
from helpers.front_house import ct_slice, front_house, make_template
from helpers.guard_house import House, attributes
from helpers.retrieve_peers import c_move, destination, filled, granted, study, workstation
from ribcage.guard import protocol as p

_FILM = b"a film"


async def _ask(house: House, asker: p.Device, recipient: p.Device | None = None) -> bool:
    uid = attributes(1).study_instance_uid
    request = p.Disclose(asker, "dimse", uid, want="full", recipient=recipient)
    return await answered(house.front.call(request, p.Disclosed), p.Disclosed)


async def _device(house: House, name: str, *may: str, grant: bool) -> p.Device:
    device = await house.device(name, name.upper(), list(may))
    if grant:
        request = p.AddGrant(subject=f"device:{name}", resource="department:radiology", view="full")
        await house.admin.call(request, p.GrantAdded)
    return device


async def _film(house: House) -> None:
    modality = await house.device("cr-1", "CR1", ["store"])
    await house.store(modality, attributes(1), _FILM)


@against_guard
async def retrieve_without_right(house: House) -> bool:
    """A modality that may only store has a grant, and asks for the film."""
    await _film(house)
    return await _ask(house, await _device(house, "ct", "store", grant=True))


@against_guard
async def retrieve_ungranted(house: House) -> bool:
    """A workstation that may retrieve, but nothing of this department."""
    await _film(house)
    return await _ask(house, await _device(house, "ws", "retrieve", grant=False))


@against_guard
async def moved_to_a_stranger(house: House) -> bool:
    """A workstation with a grant sends the film to a device that has none."""
    await _film(house)
    asker = await _device(house, "ws", "retrieve", grant=True)
    return await _ask(house, asker, await _device(house, "node", "retrieve", grant=False))


def impostor_at_the_destination(folder: Path) -> bool:
    """Another registered device listens where the destination should."""

    async def run() -> bool:
        async with front_house(make_template(folder / "template"), folder / "work") as house:
            await filled(house, [ct_slice(1)])
            ws = await workstation(house)
            await house.leaf("node", "NODE", ["retrieve"])
            await granted(house, "node")
            other, trusted = await house.leaf("other", "OTHER", ["store"])
            with destination("NODE", other, trusted) as (got, port):
                request = p.AddDestination("NODE", "node", "127.0.0.1", port)
                await house.house.admin.call(request, p.Noted)
                await asyncio.to_thread(c_move, house.address, ws, study(), "NODE")
            return bool(got.data)

    return uvloop.run(run())
