"""The verdict on a broken glass, given in a browser: by whom, with what words, and what the patient hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pyotp
import pytest

from helpers.guard_house import Clock, House, attributes, new_house
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

STUDY = "1.2.3.1"
_Answer = TypeVar("_Answer")


class Day:
    """The day after: a film that Li broke the glass for, and those who may judge it."""

    def __init__(self, house: House, clock: Clock) -> None:
        self.house, self.clock = house, clock
        self.sessions: dict[str, p.Session] = {}
        self.pushed: list[p.Told] = []

    async def dawn(self) -> None:
        device = await self.house.device("cr-1", "CR1", ["store"])
        await self.house.store(device, attributes(1), bytes(5000))
        await self.enter("li", "clinician", "officer")
        broken = p.BreakGlass(self.sessions["li"], "emergency", STUDY, note="nachts, 夜间")
        await self.house.front.call(broken, p.GlassBroken)
        await self.enter("fu", "officer")

    async def enter(self, name: str, *roles: str) -> None:
        added = await self.house.person(name, *roles)
        session = await self.house.session(name, added.password)
        code = pyotp.parse_uri(added.totp_uri).at(int(self.clock()))
        await self.house.front.call(p.StepUp(session, code), p.Person)
        self.sessions[name] = session

    async def asks(self, name: str, request: p.HouseRequest, expected: type[_Answer]) -> _Answer:
        return await self.house.front.call(p.AsAdministrator(self.sessions[name], request), expected)

    async def log(self) -> str:
        page = await self.house.admin.call(p.AuditPage(0, 1000), p.AuditEntries)
        return "".join(body for _, body in page.entries)


def play(folder: Path, story: Callable[[Day], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            day = Day(house, clock)
            await day.dawn()
            await story(day)

    asyncio.run(run())


async def refused(coroutine: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await coroutine
    return caught.value.reason


def test_an_officer_judges_once_in_the_browser_and_the_comment_stays_sealed(tmp_path: Path) -> None:
    async def story(day: Day) -> None:
        judge = p.ReviewBreakGlass(1, "unjustified", comment="kein Notfall, 不是急诊")
        assert await refused(day.asks("li", judge, p.BreakGlassItem)) == "not_permitted"
        assert await refused(day.asks("li", p.ShowBreakGlass(1), p.BreakGlassShown)) == "not_permitted"
        too_long = p.ReviewBreakGlass(1, "justified", comment="x" * 201)
        assert await refused(day.asks("fu", too_long, p.BreakGlassItem)) == "invalid"
        by = p.Approver("fu", "x", "000000")
        passed_on = p.ReviewBreakGlass(1, "justified", by)
        assert await refused(day.asks("fu", passed_on, p.BreakGlassItem)) == "invalid"
        shown = await day.asks("fu", p.ShowBreakGlass(1), p.BreakGlassShown)
        assert (shown.studies, shown.note, shown.comment) == ([STUDY], "nachts, 夜间", "")
        item = await day.asks("fu", judge, p.BreakGlassItem)
        assert (item.verdict, item.reviewed_by, item.roles) == ("unjustified", "fu", ["clinician", "officer"])
        assert await refused(day.asks("fu", judge, p.BreakGlassItem)) == "conflict"
        shown = await day.asks("fu", p.ShowBreakGlass(1), p.BreakGlassShown)
        assert shown.comment == "kein Notfall, 不是急诊"
        log = await day.log()
        assert log.count('"valueString":"shown"') == 2
        assert log.count('"valueString":"unjustified"') == 1
        assert "comment-sealed" in log
        assert "Notfall" not in log

    play(tmp_path, story)


def test_a_clinician_judges_nothing_and_an_operator_names_who_judges(tmp_path: Path) -> None:
    async def story(day: Day) -> None:
        await day.enter("wu", "clinician")
        judge = p.ReviewBreakGlass(1, "justified")
        assert await refused(day.asks("wu", judge, p.BreakGlassItem)) == "not_permitted"
        assert await refused(day.house.admin.call(judge, p.BreakGlassItem)) == "not_authenticated"
        assert await refused(day.house.front.call(judge, p.BreakGlassItem)) == "not_authenticated"

    play(tmp_path, story)


def test_what_waits_stands_first_and_is_overdue_after_its_time(tmp_path: Path) -> None:
    async def story(day: Day) -> None:
        for number in (2, 3):
            device = await day.house.device(f"cr-{number}", f"CR{number}", ["store"])
            await day.house.store(device, attributes(number), bytes(500))
            await day.house.front.call(
                p.BreakGlass(day.sessions["li"], "on-call", f"1.2.3.{number}"), p.GlassBroken
            )
        await day.asks("fu", p.ReviewBreakGlass(3, "justified"), p.BreakGlassItem)
        page = await day.asks("fu", p.BreakGlassPage(newest=True), p.BreakGlassItems)
        assert [each.number for each in page.items] == [2, 1, 3]
        assert {each.due_at - each.occurred_at for each in page.items} == {72 * 3600.0}
        assert "list-persons" not in await day.log()
        assert "break-glass-page" in await day.log()

    play(tmp_path, story)
