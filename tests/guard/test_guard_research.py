"""The guard's part of research: what a patient reads of it, what dies with a study, and rows that nobody may edit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from guard.test_guard_destruction import DAY
from guard.test_guard_patients import rows
from helpers.guard_house import Clock, edit, new_house, running
from helpers.research_house import PROJECT, Research, research
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits

BORN = "19660616"


async def released(r: Research, out: Path, study: str) -> str:
    """Release a study; its patient's pseudonym."""
    result = await r.release(out, study)
    assert result.files
    return next(each.name for each in out.iterdir() if each.name != "reports")


async def ask(r: Research, pseudonym: str) -> int:
    asked = p.AskReidentification(PROJECT, pseudonym, "incidental-finding", r.officer.approves())
    return (await r.house.admin.call(asked, p.ReidentificationItem)).number


async def approve(r: Research, number: int, pseudonym: str) -> p.Reidentified:
    approval = p.ApproveReidentification(number, pseudonym, (await r.second()).approves())
    return await r.house.admin.call(approval, p.Reidentified)


async def no(asked: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as refused:
        await asked
    return refused.value.reason


def in_research(folder: Path, work: Callable[[Research, Clock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            r = await research(house, clock=clock)
            study = await r.store()
            await r.grant(study)
            await r.consent()
            await work(r, clock)

    asyncio.run(run())


def test_a_patient_reads_consent_release_and_that_somebody_asked_who_it_was(tmp_path: Path) -> None:
    async def work(r: Research, _: Clock) -> None:
        pseudonym = await released(r, tmp_path / "out", "1.2.3.1")
        told = await approve(r, await ask(r, pseudonym), pseudonym)
        assert (told.patients, told.studies) == ([r.patient()], ["1.2.3.1"])
        await r.consent(given=False)
        invited = await r.house.admin.call(p.InvitePatient(r.patient()), p.PatientInvited)
        entered = p.EnterPatient(invited.token, BORN, "192.0.2.40", b"phone")
        state = await r.house.front.call(entered, p.PatientState)
        session = p.PatientSession(state.proof, "192.0.2.40", b"phone")
        seen = [(one.kind, one.reason) for one in (await rows(r.house, session)).items]
        due = [("consent", "given"), ("disclosure", ""), ("research", "released"), ("research", "named")]
        assert [one for one in reversed(seen) if one[0] != "access"] == [*due, ("consent", "withdrawn")]
        rights = await r.house.front.call(p.ListPatientRights(session), p.PatientRights)
        assert [(one.who.by, one.purpose) for one in rights.grants] == [(PROJECT, "HRESCH")]
        consents = await r.house.admin.call(p.GetConsent(r.patient()), p.ConsentItems)
        assert [(one.purpose, one.given, one.state) for one in consents.items] == [
            ("HRESCH", False, "attested")
        ]
        alarms = await r.house.admin.call(p.GetAlarms(), p.Alarms)
        assert "reidentified" in [one.kind for one in alarms.items]
        assert await r.house.verify() == []

    in_research(tmp_path, work)


def test_an_asking_is_for_one_pseudonym_and_one_day(tmp_path: Path) -> None:
    async def work(r: Research, clock: Clock) -> None:
        pseudonym = await released(r, tmp_path / "out", "1.2.3.1")
        assert await no(ask(r, "PAAAAAAAAAAAAAAAA")) == "not_found"
        number = await ask(r, pseudonym)
        assert await no(approve(r, number, "PAAAAAAAAAAAAAAAA")) == "not_found"
        clock.ahead += DAY + 60
        assert await no(approve(r, number, pseudonym)) == "not_found"
        cancelled = p.CancelReidentification(number, (await r.second()).approves())
        assert (await r.house.admin.call(cancelled, p.ReidentificationItem)).state == "cancelled"
        assert await no(approve(r, number, pseudonym)) == "conflict"

    in_research(tmp_path, work)


def test_a_destroyed_study_is_behind_no_pseudonym(tmp_path: Path) -> None:
    async def work(r: Research, clock: Clock) -> None:
        pseudonym = await released(r, tmp_path / "out", "1.2.3.1")
        number = await ask(r, pseudonym)
        asked = p.AskDestruction("1.2.3.1", "retention-end", r.officer.approves())
        item = await r.house.admin.call(asked, p.DestructionItem)
        clock.ahead += 60  # codes of another minute
        await r.house.admin.call(
            p.ApproveDestruction(item.number, (await r.second()).approves()), p.DestructionItem
        )
        clock.ahead += 7 * DAY + 1
        done = await r.house.admin.call(p.RunDestructions(), p.DestructionItems)
        assert [one.state for one in done.items] == ["done"]
        assert await no(approve(r, number, pseudonym)) == "not_found"
        assert await no(ask(r, pseudonym)) == "not_found"
        assert await r.house.verify() == []

    in_research(tmp_path, work)


def test_rows_that_somebody_edited_name_nobody_and_release_nothing(tmp_path: Path) -> None:
    async def before() -> str:
        async with new_house(tmp_path) as house:
            r = await research(house)
            for number in (1, 2):
                await r.grant(await r.store(number))
                await r.consent(number)
            await released(r, tmp_path / "other", "1.2.3.2")
            return await released(r, tmp_path / "out", "1.2.3.1")

    pseudonym = asyncio.run(before())
    home = tmp_path / "home"
    other = "(SELECT study_key_id FROM release_link ORDER BY rowid LIMIT 1)"
    assert edit(home, f"UPDATE release_link SET study_key_id = {other}") == 2
    assert edit(home, "UPDATE project SET until = until + 1") == 1

    async def after() -> None:
        async with running(home, GuardLimits()) as house:
            found = {one.where.split()[0] for one in await house.verify()}
            found = {one.where.split(",")[0] for one in await house.verify()}
            assert found == {"table project", "table release_link"}
            assert await no(house.admin.call(p.ListProjects(), p.ProjectItems)) == "unavailable"

    asyncio.run(after())
    assert pseudonym.startswith("P")
