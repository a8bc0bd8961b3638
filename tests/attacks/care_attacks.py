"""Attacks by whoever speaks HL7, or would like to. Each tells whether it succeeded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from attacks.guard_attacks import Attack, answered
from helpers.front_house import client_context, front_house
from helpers.guard_house import Clock, House, attributes, new_home, new_house
from helpers.his import Writer, code_of, told
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits

STUDY, PATIENT = "1.2.3.1", "PID000001"
_LIMITS = GuardLimits(care_grace_hours=0.0)


def told_without_a_certificate(folder: Path) -> bool:
    """A program in the hospital's network admits a patient to the ward of its accomplice."""

    async def run() -> bool:
        template = folder / "template"
        template.mkdir()
        async with front_house(new_home(template), folder / "work", kind="hl7") as house:
            _, trusted = await house.leaf("other", "OTHER", ["store"])
            context = client_context(trusted)
            try:
                reader, writer = await asyncio.open_connection(
                    *house.address, ssl=context, server_hostname="localhost"
                )
                text = Writer().adt("A01", PATIENT, "V1", time.time(), ward="W1", staff=["D1"])
                writer.write(b"\x0b" + text.encode() + b"\x1c\r")
                answer = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 10)
                writer.close()
            except (OSError, EOFError):
                return False
            items = await house.house.admin.call(p.ListCare(), p.CareItems)
            return code_of(answer.decode().lstrip("\x0b")) == "AA" and len(items.relations) == 1

    return uvloop.run(run())


class _Ward:
    """A film, its ward's doctor on shift, and the hospital's system."""

    def __init__(self, house: House, clock: Clock) -> None:
        self.house, self.clock, self.his = house, clock, Writer()

    async def fill(self) -> None:
        house = self.house
        cr = await house.device("cr", "CR", ["store"])
        await house.store(cr, attributes(1), b"film " * 100)
        await house.store(cr, attributes(2), b"another " * 100)
        self.engine = await house.device("engine", "ENGINE", ["his"])
        self.doctor = await house.session("ada", (await house.person("ada", "clinician")).password)
        await house.admin.call(p.SetStaffNumber("ada", "D1"), p.Noted)
        now = self.clock()
        await self.tell(self.his.staff("D1", [("W1", now - 9, now + 90_000)], now))

    async def tell(self, text: str, engine: p.Device | None = None) -> int:
        try:
            return (await self.house.front.call(told(text, engine or self.engine), p.CareTaken)).code
        except GuardRefused:
            return -1

    async def sees(self, study: str = STUDY) -> bool:
        return await answered(self.house.front.ask(p.Disclose(self.doctor, "dicomweb", study)), p.Disclosed)


def _in_ward(attack: Callable[[_Ward], Awaitable[bool]]) -> Attack:
    def play(folder: Path) -> bool:
        async def run() -> bool:
            clock = Clock()
            async with new_house(folder, _LIMITS, clock) as house:
                ward = _Ward(house, clock)
                await ward.fill()
                return await attack(ward)

        return asyncio.run(run())

    return play


@_in_ward
async def told_without_the_right(ward: _Ward) -> bool:
    """A stolen modality admits a patient to its accomplice's ward."""
    modality = await ward.house.device("ct", "CT", ["store", "query", "retrieve"])
    await ward.tell(ward.his.adt("A01", PATIENT, "V1", ward.clock(), ward="W1"), modality)
    return await ward.sees()


@_in_ward
async def admission_played_again(ward: _Ward) -> bool:
    """A recorded admission is sent again after the discharge, as it was and under another id."""
    now = ward.clock()
    first = ward.his.adt("A01", PATIENT, "V1", now, ward="W1", control="X1")
    await ward.tell(first)
    await ward.tell(ward.his.adt("A03", PATIENT, "V1", now + 1, ward="W1"))
    ward.clock.ahead += 60
    await ward.tell(first)
    await ward.tell(first.replace("|X1|", "|X2|"))
    return await ward.sees()


@_in_ward
async def discharge_by_another(ward: _Ward) -> bool:
    """Another department's system, with the same right, discharges the ward's patient."""
    now = ward.clock()
    await ward.tell(ward.his.adt("A01", PATIENT, "V1", now, ward="W1"))
    other = await ward.house.device("lab", "LAB", ["his"])
    await ward.tell(ward.his.adt("A03", PATIENT, "V1", now + 1), other)
    ward.clock.ahead += 60
    return not await ward.sees()


@_in_ward
async def visit_of_another_patient(ward: _Ward) -> bool:
    """An update under the number of a visit names somebody who is on no ward."""
    now = ward.clock()
    await ward.tell(ward.his.adt("A01", PATIENT, "V1", now, ward="W1"))
    await ward.tell(ward.his.adt("A08", "PID000002", "V1", now + 1, ward="W1"))
    return await ward.sees("1.2.3.2")
