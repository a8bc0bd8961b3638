"""Somebody lost all second factors: two administrators, a code handed over, a new enrolment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyotp
import pytest

from helpers.guard_house import Clock, House, Officer, new_house
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused


async def refused(coroutine: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await coroutine
    return caught.value.reason


def play(folder: Path, story: Callable[[House, Clock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            await story(house, clock)

    asyncio.run(run())


async def log(house: House) -> str:
    page = await house.admin.call(p.AuditPage(0, 1000), p.AuditEntries)
    return "".join(body for _, body in page.entries)


def test_two_administrators_reset_and_the_person_enrols_anew(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        li = await house.person("li", "clinician")
        root = Officer("root", await house.person("root", "administrator"), clock)
        wu = Officer("wu", await house.person("wu", "administrator"), clock)
        fu = Officer("fu", await house.person("fu", "officer"), clock)
        old = await house.session("li", li.password)
        codes = pyotp.parse_uri(li.totp_uri)
        await house.front.call(p.StepUp(old, codes.at(int(clock()))), p.Person)
        recovery = await house.front.call(p.MakeRecoveryCodes(old), p.RecoveryCodes)

        def asks(by: Officer, name: str = "li") -> Awaitable[p.Noted]:
            return house.admin.call(p.AskFactorReset(name, by.approves()), p.Noted)

        def approves(by: Officer, name: str = "li") -> Awaitable[p.FactorResetCode]:
            return house.admin.call(p.ApproveFactorReset(name, by.approves()), p.FactorResetCode)

        assert await refused(approves(wu)) == "not_found"  # nobody asked
        assert await refused(asks(fu)) == "not_permitted"
        assert await refused(asks(root, "root")) == "not_permitted"
        assert await refused(asks(root, "nobody")) == "not_found"
        await asks(root)
        clock.ahead += 60
        assert await refused(approves(root)) == "not_permitted"
        assert await refused(approves(fu)) == "not_permitted"
        (item,) = [
            each
            for each in (await house.admin.call(p.ListPersons(), p.PersonItems)).items
            if each.username == "li"
        ]
        assert (item.totp, item.recovery_codes, item.reset_asked_by) == (True, 10, "root")
        given = await approves(wu)
        assert await refused(house.front.call(p.WhoAmI(old), p.Person)) == "not_authenticated"
        session = await house.session("li", li.password)
        for code, kind in ((codes.at(int(clock())), "totp"), (recovery.codes[0], "recovery")):
            assert await refused(house.front.call(p.StepUp(session, code, kind), p.Person)) == (
                "not_authenticated"
            )
        wrong = house.front.call(p.EnrolFactor(session, "AAAA-AAAA-AAAA-AAAA"), p.FactorEnrolled)
        assert await refused(wrong) == "not_authenticated"
        asked = p.EnrolFactor(session, given.code.lower().replace("-", " "))
        enrolled = await house.front.call(asked, p.FactorEnrolled)
        assert (await house.front.call(p.WhoAmI(session), p.Person)).assurance == 1
        new = pyotp.parse_uri(enrolled.totp_uri).at(int(clock()))
        assert (await house.front.call(p.StepUp(session, new), p.Person)).assurance == 2
        assert await refused(approves(wu)) == "not_found"  # an asking serves once
        text = await log(house)
        for word in ("reset-asked", "reset-approved", "reset-refused", "reset-enrolled"):
            assert text.count(f'"valueString":"{word}"') == 1, word
        assert given.code not in text

    play(tmp_path, story)


def test_an_asking_lapses_after_a_day(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        await house.person("li", "clinician")
        root = Officer("root", await house.person("root", "administrator"), clock)
        wu = Officer("wu", await house.person("wu", "administrator"), clock)
        await house.admin.call(p.AskFactorReset("li", root.approves()), p.Noted)
        clock.ahead += 86401
        late = house.admin.call(p.ApproveFactorReset("li", wu.approves()), p.FactorResetCode)
        assert await refused(late) == "not_found"

    play(tmp_path, story)
