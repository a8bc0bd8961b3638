"""A small ward in a house: two patients with studies, a workstation for each, two persons who approve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from helpers.guard_house import Clock, House, Officer, at_database, attributes, new_house
from ribcage.database.schema import metadata
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

FILMS = {1: b"film of the first " * 50, 2: b"film of the second " * 50, 3: b"another of the first " * 50}
FIRST, SECOND = "PID000001", "PID000002"


class Ward:
    """Two patients: the first with studies 1 and 3, the second with 2; a workstation for each."""

    def __init__(self, house: House, clock: Clock) -> None:
        self.house, self.clock = house, clock
        self.cr: p.Device
        self.ws: dict[str, p.Device] = {}
        self.first: Officer
        self.second: Officer

    async def fill(self) -> None:
        house = self.house
        self.cr = await house.device("cr-1", "CR1", ["store"])
        for number, patient, name in (
            (1, FIRST, "Muster^Erika"),
            (2, SECOND, "Wang^Lei"),
            (3, FIRST, "Muster^Erika"),
        ):
            await house.store(
                self.cr, attributes(number, patient_id=patient, patient_name=name), FILMS[number]
            )
        for name, patient in (("first", FIRST), ("second", SECOND)):
            self.ws[name] = await house.device(f"ws-{name}", f"WS{name.upper()}", ["query", "retrieve"])
            await self.grant(f"device:ws-{name}", f"patient:{patient}")
        self.first = Officer("ann", await house.person("ann", "officer"), self.clock)
        self.second = Officer("ben", await house.person("ben", "administrator"), self.clock)

    def later(self) -> None:
        """A minute or more later, at the beginning of half a minute: codes made now are good for all of it."""
        self.clock.ahead += 90 - self.clock() % 30

    async def grant(self, subject: str, resource: str, view: str = "full") -> None:
        request = p.AddGrant(subject, resource, view, valid_until=self.clock() + 1e6)
        await self.house.admin.call(request, p.GrantAdded)

    async def ask(self, kind: str, by: Officer | None = None, **more: Any) -> p.IdentityChangeItem:
        request = p.AskIdentityChange(kind, (by or self.first).approves(), **more)
        return await self.house.admin.call(request, p.IdentityChangeItem)

    async def approve(self, number: int, by: Officer | None = None) -> p.IdentityChangeItem:
        request = p.ApproveIdentityChange(number, (by or self.second).approves())
        return await self.house.admin.call(request, p.IdentityChangeItem)

    async def change(self, kind: str, **more: Any) -> int:
        number = (await self.ask(kind, **more)).number
        assert (await self.approve(number)).state == "done"
        return number

    async def disclose(self, who: str, study: int) -> p.Disclosed:
        ask = p.Disclose(self.ws[who], "dimse", f"1.2.3.{study}")
        return await self.house.front.call(ask, p.Disclosed)

    async def named(self, who: str, study: int) -> p.CorrectedPatient | None:
        disclosed = await self.disclose(who, study)
        wanted = [ref.object_id for ref in disclosed.instances]
        opened = await self.house.front.call(p.Open(disclosed.receipt, self.ws[who], wanted), p.Opened)
        return opened.objects[0].named

    async def sees(self, who: str) -> list[tuple[str, ...]]:
        """What this workstation finds: study, ID, name."""
        ask = p.Query(principal=self.ws[who], channel="dimse", level="study", filters={})
        records = (await self.house.front.call(ask, p.QueryAnswer)).records
        keys = ("StudyInstanceUID", "PatientID", "PatientName")
        return sorted(tuple(str(r.attributes[k]) for k in keys) for r in records)

    async def found(self, who: str, **filters: str) -> int:
        ask = p.Query(principal=self.ws[who], channel="dimse", level="study", filters=filters)
        return len((await self.house.front.call(ask, p.QueryAnswer)).records)

    async def state(self) -> tuple[object, ...]:
        """All that anybody can see or find, and what decisions say."""
        seen = [await self.sees(who) for who in self.ws]
        names = [
            await self.found(who, PatientName=name)
            for who in self.ws
            for name in ("Muster^Erika", "Wang^Lei", "Mus*")
        ]
        opened = []
        for who in self.ws:
            for study in FILMS:
                try:
                    opened.append(await self.named(who, study))
                except GuardRefused as refused:
                    opened.append(refused.reason)
        return tuple(seen), tuple(names), tuple(opened)


def in_ward(folder: Path, work: Callable[[Ward], Awaitable[None]], clock: Clock | None = None) -> None:
    """`clock`: for a house that is opened again afterwards."""

    async def run() -> None:
        now = clock or Clock()
        async with new_house(folder, clock=now) as house:
            ward = Ward(house, now)
            await ward.fill()
            await work(ward)

    asyncio.run(run())


def fingerprint(home: Path, name: str) -> bytes:
    """Of a registered device, read from the database."""
    found: list[bytes] = []
    table = metadata.tables["device"]

    def read(connection: sa.Connection) -> None:
        found.append(
            connection.execute(sa.select(table.c.fingerprint).where(table.c.name == name)).scalar_one()
        )

    at_database(home, read)
    return bytes(found[0])
