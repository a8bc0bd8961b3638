"""What the hospital's system tells becomes grants on the ledger that begin and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from helpers.guard_house import Clock, House, attributes, new_house
from helpers.his import Writer, told
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits

LIMITS = GuardLimits(care_grace_hours=1.0, care_report_days=1.0)
HOUR, DAY = 3600.0, 86400.0


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
