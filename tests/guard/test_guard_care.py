"""What the hospital's system tells becomes grants on the ledger that begin and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import argon2
import pytest

from helpers.guard_house import Clock, House, attributes, edit, new_house, running
from helpers.his import Writer, told
from ribcage.guard import people
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits
from ribcage.guard.rights import Rights

LIMITS = GuardLimits(care_grace_hours=1.0, care_report_days=1.0, session_seconds=90 * 86400)
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about passwords."""
    monkeypatch.setattr(people, "_HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


class Hospital:
    """A house with two patients' films, three doctors on two wards, and their information system."""

    def __init__(self, house: House, clock: Clock) -> None:
        self.house, self.clock, self.his = house, clock, Writer()
        self.sessions: dict[str, p.Session] = {}
        self.engine: p.Device

    async def fill(self) -> None:
        cr = await self.house.device("cr", "CR", ["store"])
        for number in (1, 2):
            await self.house.store(cr, attributes(number), b"film of %d " % number * 50)
        self.engine = await self.house.device("his", "HIS", ["his"])
        for name, role, number in (
            ("ada", "clinician", "D1"),
            ("bea", "clinician", "D2"),
            ("cyn", "radiologist", "D3"),
            ("tom", "technologist", "D4"),
        ):
            added = await self.house.person(name, role)
            self.sessions[name] = await self.house.session(name, added.password)
            await self.house.admin.call(p.SetStaffNumber(name, number), p.Noted)

    async def tell(self, text: str, engine: p.Device | None = None) -> p.CareTaken:
        return await self.house.front.call(told(text, engine or self.engine), p.CareTaken)

    async def shift(self, number: str, ward: str, hours: float = 8.0) -> None:
        now = self.clock()
        shifts = [(ward, now - 60, now + hours * HOUR)] if ward else []
        assert (await self.tell(self.his.staff(number, shifts, now))).code == 0

    async def sees(self, name: str, study: int) -> bool:
        try:
            await self.house.front.call(
                p.Disclose(self.sessions[name], "dicomweb", f"1.2.3.{study}"), p.Disclosed
            )
        except GuardRefused as refused:
            assert refused.reason in ("not_found", "not_permitted"), refused.reason
            return False
        return True

    async def grants(self) -> list[p.GrantItem]:
        return (await self.house.admin.call(p.ListGrants(), p.GrantItems)).items

    async def look(self) -> None:
        """What the ticker does, until nothing is left."""
        care = self.house.server._rooms.care
        care.wake()
        care._look_at = 0.0
        while care._behind:
            await care.tick()


def in_hospital(
    folder: Path, work: Callable[[Hospital], Awaitable[None]], limits: GuardLimits = LIMITS
) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, limits, clock) as house:
            hospital = Hospital(house, clock)
            await hospital.fill()
            await work(hospital)

    asyncio.run(run())


def test_an_admission_lets_the_ward_see_and_a_discharge_ends_it(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D1", "W1")
        await h.shift("D2", "W2")
        assert not await h.sees("ada", 1)
        now = h.clock()
        assert await h.tell(h.his.adt("A01", "PID000001", "V1", now, ward="W1")) == p.CareTaken()
        assert await h.sees("ada", 1) and not await h.sees("ada", 2), "this patient's films alone"
        assert not await h.sees("bea", 1), "another ward"
        (grant,) = await h.grants()
        assert (grant.subject, grant.resource, grant.cause) == (
            "person:ada",
            "patient:PID000001",
            "ADT-A01 M3",
        )
        await h.tell(h.his.adt("A03", "PID000001", "V1", now + 1, ward="W1"))
        assert await h.sees("ada", 1), "grace"
        h.clock.ahead += HOUR + 60
        assert not await h.sees("ada", 1)
        await h.look()
        assert await h.grants() == []
        assert await h.house.verify() == []

    in_hospital(tmp_path, story)


def test_transfer_takes_the_right_from_the_old_ward(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D1", "W1")
        await h.shift("D2", "W2")
        now = h.clock()
        await h.tell(h.his.adt("A01", "PID000001", "V1", now, ward="W1", staff=["", "D3"]))
        assert await h.sees("ada", 1) and await h.sees("cyn", 1) and not await h.sees("bea", 1)
        await h.tell(h.his.adt("A02", "PID000001", "V1", now + 1, ward="W2"))
        assert await h.sees("bea", 1) and not await h.sees("ada", 1) and not await h.sees("cyn", 1)
        await h.tell(h.his.adt("A12", "PID000001", "V1", now + 2, ward="W1"))
        assert await h.sees("ada", 1) and not await h.sees("bea", 1)
        await h.tell(h.his.adt("A11", "PID000001", "V1", now + 3, ward="W1"))
        assert not await h.sees("ada", 1), "a cancelled admission has no grace"

    in_hospital(tmp_path, story)


def test_late_and_repeated_messages_change_nothing(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D1", "W1")
        await h.shift("D2", "W2")
        now = h.clock()
        h.clock.ahead += 2 * HOUR  # grace is over when they arrive
        late = h.his.adt("A01", "PID000001", "V1", now, ward="W1")
        await h.tell(h.his.adt("A03", "PID000001", "V1", now + 5, ward="W1"))
        assert await h.tell(late) == p.CareTaken()
        assert not await h.sees("ada", 1), "an admission that comes after its discharge"
        await h.tell(h.his.adt("A01", "PID000002", "V2", now + 9, ward="W2"))
        update = h.his.adt("A08", "PID000002", "V2", now + 3, ward="W1")
        assert await h.tell(update) == p.CareTaken()
        assert await h.sees("bea", 2) and not await h.sees("ada", 2), "an older update undoes nothing"
        before = [(each.grant_id, each.cause) for each in await h.grants()]
        for text in (late, update, update):
            assert await h.tell(text) == p.CareTaken(again=True)
        assert [(each.grant_id, each.cause) for each in await h.grants()] == before

    in_hospital(tmp_path, story)


def test_what_is_refused(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D1", "W1")
        now, his = h.clock(), h.his
        for text, code in (
            (his.adt("A01", "UNKNOWN", "V1", now, ward="W1"), 204),
            (his.adt("A01", "PID000001", "V1", now + 2 * DAY, ward="W1"), 102),
            (his.adt("A01", "PID000001", "V1", now - 100 * DAY, ward="W1"), 102),
            (his.adt("A01", "PID000001", "V" * 300, now, ward="W1"), 102),
            (his.adt("A01", "PID000001", "V\x1b[2J", now, ward="W1"), 102),
            (his.adt("A01", "PID000001", "V1", now, ward="W1", control="ONE"), 0),
            (his.adt("A01", "PID000002", "V9", now, ward="W1", control="ONE"), 205),
            (his.adt("A08", "PID000002", "V1", now + 1, ward="W1"), 204),
        ):
            assert (await h.tell(text)).code == code, text
        assert await h.sees("ada", 1) and not await h.sees("ada", 2)
        other = await h.house.device("other", "OTHER", ["store", "query"])
        with pytest.raises(GuardRefused, match="not_permitted"):
            await h.tell(his.adt("A03", "PID000001", "V1", now + 1, ward="W1"), other)

    in_hospital(tmp_path, story)


def test_another_certificate_ends_nothing(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D1", "W1")
        now = h.clock()
        await h.tell(h.his.adt("A01", "PID000001", "V1", now, ward="W1"))
        second = await h.house.device("his2", "HIS2", ["his"])
        for event in ("A03", "A11", "A02"):
            assert (await h.tell(h.his.adt(event, "PID000001", "V1", now + 1, ward="W9"), second)).code == 0
        h.clock.ahead += 2 * HOUR
        await h.look()
        assert await h.sees("ada", 1)

    in_hospital(tmp_path, story)


def test_only_staff_who_treat_and_are_known(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D4", "W1")
        await h.shift("D9", "W1")
        await h.tell(h.his.adt("A01", "PID000001", "V1", h.clock(), ward="W1", staff=["D8"]))
        assert await h.grants() == []
        items = await h.house.admin.call(p.ListCare(), p.CareItems)
        assert items.unknown == ["D8", "D9"]
        with pytest.raises(GuardRefused, match="conflict"):
            await h.house.admin.call(p.SetStaffNumber("ada", "D4"), p.Noted)
        await h.house.admin.call(p.SetStaffNumber("ada", "D8"), p.Noted)
        await h.look()
        assert await h.sees("ada", 1), "known from now on"
        await h.house.admin.call(p.SuspendPerson("ada", True), p.Noted)
        await h.look()
        assert await h.grants() == []

    in_hospital(tmp_path, story)


def test_shifts_begin_and_end(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        now = h.clock()
        await h.tell(h.his.staff("D1", [("W1", now + HOUR, now + 3 * HOUR)], now))
        await h.tell(h.his.adt("A01", "PID000001", "V1", now, ward="W1"))
        assert not await h.sees("ada", 1)
        h.clock.ahead += HOUR + 60
        await h.look()
        assert await h.sees("ada", 1)
        await h.tell(h.his.staff("D1", [("W1", now - HOUR, now + 9 * HOUR)], now - 1))
        h.clock.ahead += 2 * HOUR
        assert not await h.sees("ada", 1), (
            "the ledger ends it, also while nobody looks; an older plan counts no more"
        )
        shift = p.SetShift("D1", p.CareShift("W1", h.clock(), 0.0))
        await h.house.admin.call(shift, p.Noted)
        await h.look()
        (standing,) = [s for s in (await h.house.admin.call(p.ListCare(), p.CareItems)).shifts if s.by_hand]
        h.clock.ahead += 20 * DAY
        await h.look()
        assert await h.sees("ada", 1), "given anew"
        await h.house.admin.call(p.EndShift(standing.shift), p.Noted)
        await h.look()
        assert not await h.sees("ada", 1)

    in_hospital(tmp_path, story)


def test_what_persons_did_by_hand_stays(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D1", "W1")
        by_hand = await h.house.admin.call(
            p.AddGrant("person:ada", "patient:PID000001", "full"), p.GrantAdded
        )
        now = h.clock()
        await h.tell(h.his.adt("A01", "PID000001", "V1", now, ward="W1"))
        await h.tell(h.his.adt("A11", "PID000001", "V1", now + 1))
        assert await h.sees("ada", 1), "a message ends no grant that was made by hand"
        await h.house.admin.call(p.RevokeGrant(by_hand.grant_id), p.Noted)
        await h.tell(h.his.adt("A01", "PID000001", "V2", now + 2, ward="W1"))
        (grant,) = await h.grants()
        await h.house.admin.call(p.RevokeGrant(grant.grant_id), p.Noted)
        await h.tell(h.his.adt("A08", "PID000001", "V2", now + 3, ward="W1"))
        await h.look()
        assert not await h.sees("ada", 1), "nor gives one again that a person took back"
        await h.house.admin.call(p.Object("PID000001", "person:ada", True), p.Noted)
        await h.tell(h.his.adt("A01", "PID000001", "V3", now + 4, ward="W1"))
        assert not await h.sees("ada", 1), "the patient's objection wins"

    in_hospital(tmp_path, story)


def test_orders_open_to_readers_until_their_report_is_old(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D2", "CT")
        now, his = h.clock(), h.his
        order = {"department": "CT", "reader": "D3", "by": "D1"}
        await h.tell(his.order("NW", "PID000001", "O1", now, **order))
        assert [await h.sees(who, 1) for who in ("ada", "bea", "cyn")] == [True] * 3
        await h.tell(his.order("NW", "PID000002", "O2", now, **order))
        await h.tell(his.order("CA", "PID000002", "O2", now + 1, **order))
        assert not await h.sees("cyn", 2)
        await h.tell(his.order("SC", "PID000001", "O1", now + 2, status="CM", result="F", **order))
        h.clock.ahead += DAY / 2
        assert await h.sees("cyn", 1) and not await h.sees("bea", 1), "the shift is over, the report is fresh"
        h.clock.ahead += DAY
        assert not await h.sees("cyn", 1)

    in_hospital(tmp_path, story)


def test_a_merge_brings_the_ward_to_all_films(tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        await h.shift("D1", "W1")
        now = h.clock()
        await h.tell(h.his.adt("A01", "PID000009", "V1", now, ward="W1"))
        assert not await h.sees("ada", 1)
        text = h.his.merge("PID000001", "PID000009", now + 1)
        assert await h.tell(text) == p.CareTaken()
        assert await h.sees("ada", 1)
        assert await h.tell(text) == p.CareTaken(again=True)
        await h.tell(h.his.merge("PID000009", "PID000002", now + 2))
        assert await h.sees("ada", 1) and await h.sees("ada", 2)
        await h.tell(h.his.adt("A11", "PID000009", "V1", now + 3))
        assert not await h.sees("ada", 1) and not await h.sees("ada", 2)
        assert await h.house.verify() == []

    in_hospital(tmp_path, story)


def test_a_crash_between_rows_and_grants_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    kept: dict[str, object] = {}

    async def before() -> None:
        async with new_house(tmp_path, LIMITS, clock) as house:
            hospital = Hospital(house, clock)
            await hospital.fill()
            await hospital.shift("D1", "W1")

            async def died(*_: object) -> None:
                raise GuardRefused("unavailable")

            monkeypatch.setattr(Rights, "give", died)
            text = hospital.his.adt("A01", "PID000001", "V1", clock(), ward="W1")
            for _ in range(2):
                with pytest.raises(GuardRefused, match="unavailable"):
                    await hospital.tell(text)
            assert not await hospital.sees("ada", 1)
            monkeypatch.undo()
            kept.update(text=text, engine=hospital.engine, sessions=hospital.sessions)

    async def after() -> None:
        async with running(tmp_path / "home", LIMITS, clock) as house:
            hospital = Hospital(house, clock)
            hospital.engine, hospital.sessions = kept["engine"], kept["sessions"]  # type: ignore[assignment]
            assert await hospital.tell(str(kept["text"])) == p.CareTaken(again=True)
            assert await hospital.sees("ada", 1), "answered means in force"
            assert len(await hospital.grants()) == 1

    asyncio.run(before())
    asyncio.run(after())


def test_a_row_edited_by_sql_opens_nothing(tmp_path: Path) -> None:
    clock = Clock()
    kept: dict[str, object] = {}

    async def before() -> None:
        async with new_house(tmp_path, LIMITS, clock) as house:
            hospital = Hospital(house, clock)
            await hospital.fill()
            await hospital.shift("D1", "W2")
            await hospital.tell(hospital.his.adt("A01", "PID000001", "V1", clock(), ward="W1"))
            kept.update(sessions=hospital.sessions)

    asyncio.run(before())
    assert edit(tmp_path / "home", "UPDATE shift SET ward = 'W1'") == 1

    async def after() -> None:
        async with running(tmp_path / "home", LIMITS, clock) as house:
            hospital = Hospital(house, clock)
            hospital.sessions = kept["sessions"]  # type: ignore[assignment]
            await hospital.look()
            assert not await hospital.sees("ada", 1)
            assert any("shift" in each for each in house.server._core.findings)

    asyncio.run(after())
