"""Attacks on break-glass: by persons who may not, by haste, and on the journal's file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyotp

from attacks.guard_attacks import STUDY, answered
from helpers.guard_house import Clock, House, attributes, new_house, running
from ribcage.guard import protocol as p
from ribcage.guard.emergency import HEADS, SLOT_BYTES
from ribcage.ledger import calls
from ribcage.ledger.errors import LedgerUnavailable


async def _night(house: House, role: str = "clinician", *more: str) -> tuple[p.Session, pyotp.TOTP, str]:
    """A film, and somebody without a grant: session, codes, password."""
    device = await house.device("cr-1", "CR1", ["store"])
    await house.store(device, attributes(1), bytes(4000))
    added = await house.person("li", role, *more)
    session = await house.session("li", added.password)
    return session, pyotp.parse_uri(added.totp_uri), added.password


def _breaks(session: p.Session, code: str = "", study: str = STUDY) -> p.BreakGlass:
    return p.BreakGlass(session, "emergency", study, code=code)


async def suspended_breaks_glass(house: House) -> bool:
    """The open session of somebody who was suspended."""
    session, codes, _ = await _night(house)
    code = codes.now()
    await house.front.call(p.StepUp(session, code), p.Person)
    await house.admin.call(p.SuspendPerson("li", True), p.Noted)
    return await answered(house.front.ask(_breaks(session)), p.GlassBroken)


async def glass_without_factor(house: House) -> bool:
    """A password alone breaks the glass."""
    session, _, _ = await _night(house)
    return await answered(house.front.ask(_breaks(session)), p.GlassBroken)


async def technologist_breaks_glass(house: House) -> bool:
    """A role that treats nobody."""
    session, codes, _ = await _night(house, "technologist")
    return await answered(house.front.ask(_breaks(session, codes.now())), p.GlassBroken)


async def glass_against_legal_block(house: House) -> bool:
    """A court has forbidden it."""
    session, codes, _ = await _night(house)
    await house.front.call(_breaks(session, codes.now()), p.GlassBroken)
    core = house.server._core
    resource = next(iter(core.permits.unreviewed())).resource
    core.ledger.apply(core.ledger.prepare(calls.legal_block(resource), core.clock()))
    asked = p.Disclose(session, "dicomweb", STUDY)
    return await answered(house.front.ask(asked), p.Disclosed)


async def glass_by_the_dozen(house: House) -> bool:
    """A sixth study in one night."""
    session, codes, _ = await _night(house)
    await house.front.call(p.StepUp(session, codes.now()), p.Person)
    device = await house.device("cr-2", "CR2", ["store"])
    for number in range(2, 7):
        await house.store(device, attributes(number), bytes(100))
    asked = [_breaks(session, study=f"1.2.3.{number}") for number in range(1, 7)]
    return [await answered(house.front.ask(each), p.GlassBroken) for each in asked] == [True] * 6


async def own_judge(house: House) -> bool:
    """A doctor who is an officer too finds the own access justified."""
    session, codes, password = await _night(house, "clinician", "officer")
    now = house.server._core.clock()
    await house.front.call(_breaks(session, codes.at(int(now) - 30)), p.GlassBroken)
    by = p.Approver("li", password, codes.at(int(now)))
    return await answered(house.admin.ask(p.ReviewBreakGlass(1, "justified", by)), p.BreakGlassItem)


async def own_judge_in_the_browser(house: House) -> bool:
    """The same in the session that broke it, whose second factor is fresh."""
    session, codes, _ = await _night(house, "clinician", "officer")
    await house.front.call(_breaks(session, codes.now()), p.GlassBroken)
    asked = p.AsAdministrator(session, p.ReviewBreakGlass(1, "justified"))
    return await answered(house.front.ask(asked), p.BreakGlassItem)


async def judge_with_a_password(house: House) -> bool:
    """An officer's password, found, without the second factor."""
    session, codes, _ = await _night(house)
    await house.front.call(_breaks(session, codes.now()), p.GlassBroken)
    officer = await house.person("fu", "officer")
    stolen = await house.session("fu", officer.password)
    asked = p.AsAdministrator(stolen, p.ReviewBreakGlass(1, "justified"))
    return await answered(house.front.ask(asked), p.BreakGlassItem)


def _no_ledger(house: House) -> None:
    def fails(*_: object) -> None:
        raise LedgerUnavailable("made to fail")

    house.server._core.ledger.check = fails


async def code_twice_in_a_fault(house: House) -> bool:
    """A code seen over the shoulder, used again while the ledger is down."""
    session, codes, _ = await _night(house)
    device = await house.device("cr-2", "CR2", ["store"])
    await house.store(device, attributes(2), bytes(100))
    house.server._core.witness._started = False
    house.server._rooms.glass.in_a_fault.hand_over = _never
    code = codes.now()
    await house.front.call(_breaks(session, code), p.GlassBroken)
    return await answered(house.front.ask(_breaks(session, code, "1.2.3.2")), p.GlassBroken)


async def _never(*_: object) -> None:
    return None


async def glass_on_a_false_state(house: House) -> bool:
    """The ledger's newest change was cut away: it may have been a suspension."""
    session, codes, _ = await _night(house)
    house.server._core.ledger_behind = True
    return await answered(house.front.ask(_breaks(session, codes.now())), p.GlassBroken)


async def glass_without_a_reserve(house: House) -> bool:
    """The ledger is down and the journal is full."""
    session, codes, _ = await _night(house)
    _no_ledger(house)
    house.server._rooms.glass.in_a_fault.hand_over = _never
    journal = house.server._core.emergency
    while journal.room:
        journal.append(b"an attacker's")
    journal.pending.clear()
    return await answered(house.front.ask(_breaks(session, codes.now())), p.GlassBroken)


class _Stepped(Clock):
    step = 0.0

    def __call__(self) -> float:
        return super().__call__() + self.step


def erased_record(folder: Path) -> bool:
    """The record of a broken glass is taken from the journal's file before the guard starts again."""

    async def run() -> bool:
        clock = _Stepped()
        async with new_house(folder, clock=clock) as house:
            session, codes, _ = await _night(house)
            await house.front.call(p.StepUp(session, codes.now()), p.Person)
            path = folder / "home" / "database" / "emergency.journal"
            before = path.read_bytes()
            clock.step = -3600.0
            await house.front.call(_breaks(session), p.GlassBroken)
        at = slice(HEADS * SLOT_BYTES, (HEADS + 1) * SLOT_BYTES)
        content = bytearray(path.read_bytes())
        content[at] = before[at]
        path.write_bytes(content)
        clock.step = 0.0
        async with running(folder / "home", clock=clock) as house:
            status = await house.admin.call(p.GetStatus(), p.Status)
            alarms = await house.admin.call(p.GetAlarms(), p.Alarms)
            return not alarms.items and not any("journal" in each for each in status.findings)

    return asyncio.run(run())
