"""Attacks by way of a patient's identity: a merge or a move that shows what no right shows."""

from __future__ import annotations

from attacks.guard_attacks import answered
from helpers.guard_house import Clock, House, Officer, attributes
from ribcage.guard import protocol as p

FIRST, SECOND = "PID000001", "PID000002"
_FAR = 1e6


async def _ward(house: House) -> tuple[p.Device, Officer, Officer]:
    """Two patients with a film each, a workstation that may see the second's, an asker and an approver."""
    cr = await house.device("cr-9", "CR9", ["store"])
    for number in (1, 2):
        await house.store(cr, attributes(number), bytes([number]) * 500)
    ws = await house.device("ws-9", "WS9", ["query", "retrieve"])
    clock = Clock()
    grant = p.AddGrant("device:ws-9", f"patient:{SECOND}", "full", valid_until=clock() + _FAR)
    await house.admin.call(grant, p.GrantAdded)
    people = [
        Officer(name, await house.person(name, role), clock)
        for name, role in (("ann9", "officer"), ("ben9", "administrator"))
    ]
    return ws, people[0], people[1]


async def _merge(house: House, away: str, stays: str, first: Officer, second: Officer) -> None:
    ask = p.AskIdentityChange("merge", first.approves(), patient=away, into=stays)
    item = await house.admin.call(ask, p.IdentityChangeItem)
    approve = p.ApproveIdentityChange(item.number, second.approves())
    await house.admin.call(approve, p.IdentityChangeItem)


async def merge_to_read_another(house: House) -> bool:
    """Who may see one patient has that patient merged into the victim, and reads the victim's films."""
    ws, first, second = await _ward(house)
    await _merge(house, SECOND, FIRST, first, second)
    return await answered(house.front.call(p.Disclose(ws, "dimse", "1.2.3.1"), p.Disclosed), p.Disclosed)


async def merge_against_an_objection(house: House) -> bool:
    """A patient objects to everybody; merged into another, whose films may be seen, the films open."""
    ws, first, second = await _ward(house)
    await house.admin.call(p.Object(FIRST, "*", True), p.Noted)
    await _merge(house, FIRST, SECOND, first, second)
    return await answered(house.front.call(p.Disclose(ws, "dimse", "1.2.3.1"), p.Disclosed), p.Disclosed)


async def move_by_one(house: House) -> bool:
    """One person alone moves a study to a patient whose films a workstation may see."""
    ws, first, _ = await _ward(house)
    ask = p.AskIdentityChange("move", first.approves(), into=SECOND, studies=["1.2.3.1"])
    item = await house.admin.call(ask, p.IdentityChangeItem)
    approve = p.ApproveIdentityChange(item.number, first.approves())
    await answered(house.admin.call(approve, p.IdentityChangeItem), p.IdentityChangeItem)
    return await answered(house.front.call(p.Disclose(ws, "dimse", "1.2.3.1"), p.Disclosed), p.Disclosed)
