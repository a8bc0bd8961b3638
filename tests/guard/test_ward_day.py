"""A ward day from HL7 alone, against a plain model: every expected access works, every other is refused."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import argon2
import pytest

from helpers.guard_house import Clock, House, attributes, new_house
from helpers.his import told
from helpers.ward_day import Day
from ribcage.guard import catalogue, people
from ribcage.guard import protocol as p
from ribcage.guard.decision import Denied, decide
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits

LIMITS = GuardLimits(care_grace_hours=0.0, care_report_days=0.0)
Listed = tuple[str, str, bool, str]


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about passwords."""
    monkeypatch.setattr(people, "_HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


class Wards:
    """The day's archive: a film for each patient, a session for each of the staff."""

    def __init__(self, house: House, day: Day) -> None:
        self.house, self.day = house, day
        self.sessions: dict[str, p.Session] = {}
        self.codes: Counter[tuple[int, bool]] = Counter()

    async def fill(self) -> None:
        cr = await self.house.device("cr", "CR", ["store"])
        for number in range(self.day.patients):
            await self.house.store(
                cr, attributes(number + 1, patient_id=f"P{number}"), b"film %d " % number * 9
            )
        self.engine = await self.house.device("his", "HIS", ["his"])
        for number in range(self.day.staff):
            name = f"s{number}"
            added = await self.house.person(name, "clinician" if number % 3 else "radiologist")
            self.sessions[f"S{number}"] = await self.house.session(name, added.password)
            await self.house.admin.call(p.SetStaffNumber(name, f"S{number}"), p.Noted)

    async def tell(self) -> None:
        """All messages that are on their way."""
        for text in self.day.delivered():
            taken = await self.house.front.call(told(text, self.engine), p.CareTaken)
            self.codes[taken.code, taken.again] += 1

    def decisions(self) -> list[Listed]:
        """Staff, patient, allowed or not, and why: for all pairs."""
        core = self.house.server._core
        causes: dict[int, str] = {}
        listed: list[Listed] = []
        with core.engine.connect() as connection:
            for staff, session in self.sessions.items():
                actor = core.actor(session)
                for number in range(self.day.patients):
                    held = catalogue.hold(core, connection, f"1.2.3.{number + 1}")
                    assert held is not None
                    try:
                        grant = decide(core, actor, held, "best", "TREAT", "retrieve").grant_id
                    except Denied as denied:
                        listed.append((staff, f"P{number}", False, denied.cause))
                        continue
                    row = self.house.server._rooms.care.rows.grants[grant]
                    _, said = self.house.server._rooms.care.rows.said(int(row["message"]))
                    causes[grant] = said
                    listed.append((staff, f"P{number}", True, f"grant {grant} by {said}"))
        return listed

    async def disclosed(self, staff: str, patient: str) -> bool:
        uid = f"1.2.3.{int(patient[1:]) + 1}"
        try:
            await self.house.front.call(p.Disclose(self.sessions[staff], "dicomweb", uid), p.Disclosed)
        except GuardRefused as refused:
            assert refused.reason == "not_permitted"
            return False
        return True


async def _day(folder: Path, seed: int, size: tuple[int, int, int], rounds: int, events: int) -> list[Listed]:
    clock = Clock()
    patients, staff, wards = size
    day = Day(patients, staff, wards, clock() - rounds * events * 6 - 1000, random.Random(seed))
    listing: list[Listed] = []
    async with new_house(folder, LIMITS, clock) as house:
        hospital = Wards(house, day)
        await hospital.fill()
        day.begin()
        for _ in range(rounds):
            day.happen(events)
            await hospital.tell()
            listed = hospital.decisions()
            allowed = {(who, whose) for who, whose, yes, _ in listed if yes}
            assert allowed == day.expected(), f"seed {seed}"
            assert {why for _, _, yes, why in listed if not yes} <= {"no-grant"}
            listing += listed
        for who, whose, yes, _ in day.dice.sample(listed, min(len(listed), 100)):
            assert await hospital.disclosed(who, whose) == yes
        assert set(hospital.codes) == {(0, False), (0, True)}
        items = (await house.admin.call(p.ListGrants(), p.GrantItems)).items
        assert all(each.cause for each in items), "no grant by hand"
        assert await house.verify() == []
    return listing


def test_a_small_ward_day(tmp_path: Path) -> None:
    listing = asyncio.run(_day(tmp_path, 1, (20, 6, 3), rounds=3, events=25))
    assert len(listing) == 3 * 20 * 6
    assert {yes for _, _, yes, _ in listing} == {True, False}


@pytest.mark.soak
def test_a_whole_ward_day(tmp_path: Path) -> None:
    """200 patients, 30 staff, more than 10,000 decisions; they are listed in `decisions.txt` of the test's folder."""
    listing = asyncio.run(_day(tmp_path, 2, (200, 30, 8), rounds=4, events=200))
    assert len(listing) >= 10_000
    lines = [f"{who}\t{whose}\t{'allowed' if yes else 'refused'}\t{why}" for who, whose, yes, why in listing]
    (tmp_path / "decisions.txt").write_text("\n".join(lines) + "\n")
    print(Counter((yes, why.split()[0]) for _, _, yes, why in listing))
