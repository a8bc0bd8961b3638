"""Attacks on a guard whose images are an old PACS's: by what that PACS says, and by who asks.

Each tells whether it succeeded.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from attacks.guard_attacks import answered
from helpers.guard_house import House, attributes, new_house
from ribcage.guard import protocol as p
from ribcage.guard.limits import GuardLimits

SHIELD = GuardLimits(shield_department="radiology")


def against_shield(attack: Callable[[House], Awaitable[bool]]) -> Callable[[Path], bool]:
    """An attack on a running guard of a shield."""

    def play(folder: Path) -> bool:
        async def run() -> bool:
            async with new_house(folder, SHIELD) as house:
                return await attack(house)

        return asyncio.run(run())

    return play


def listing(device: p.Device, *studies: p.Attributes, **more: object) -> p.ListElsewhere:
    """A page of the old PACS's answers."""
    given: dict[str, object] = {"level": "study", "keywords": [], "limit": 100} | more
    return p.ListElsewhere(device, "dimse", studies=list(studies), **given)  # type: ignore[arg-type]


async def listed(house: House, *studies: p.Attributes) -> p.Device:
    """A workstation that asked once, so that these studies are known."""
    asker = await house.device("asker", "ASKER", ["query"])
    await house.front.call(listing(asker, *studies), p.ListedElsewhere)
    return asker


async def grant(house: House, subject: str, resource: str) -> None:
    """The full view."""
    await house.admin.call(p.AddGrant(subject=subject, resource=resource, view="full"), p.GrantAdded)


async def study_listed_without_a_grant(house: House) -> bool:
    """A workstation is named what it was not granted."""
    mine, other = attributes(1), attributes(2)
    asker = await listed(house, mine, other)
    await grant(house, "device:asker", f"study:{mine.study_instance_uid}")
    answer = await house.front.call(listing(asker, mine, other), p.ListedElsewhere)
    return other.study_instance_uid in answer.views


async def study_disclosed_without_a_grant(house: House) -> bool:
    """A workstation retrieves what it was not granted."""
    study = attributes(1)
    await listed(house, study)
    thief = await house.device("thief", "THIEF", ["retrieve"])
    asked = p.Disclose(thief, "dimse", study.study_instance_uid, want="full", elsewhere=study)
    return await answered(house.front.call(asked, p.Disclosed), p.Disclosed)


async def victims_film_under_a_granted_study(house: House) -> bool:
    """Somebody writes a victim's film into the old PACS, under a study that a workstation may see."""
    victim, accomplice = attributes(1), attributes(2)
    await listed(house, victim, accomplice)
    station = await house.device("station", "STATION", ["query", "retrieve"])
    await grant(house, "device:station", f"study:{accomplice.study_instance_uid}")
    mixed = msgspec.structs.replace(accomplice, patient_id=victim.patient_id)
    asked = p.Disclose(station, "dimse", accomplice.study_instance_uid, want="full", elsewhere=mixed)
    return await answered(house.front.call(asked, p.Disclosed), p.Disclosed)


async def name_probed_through_the_pacs(house: House) -> bool:
    """A doctor who may browse masked learns a name by asking the old PACS for it."""
    study = attributes(1)
    await listed(house, study)
    added = await house.person("li", "radiologist")
    await grant(house, "person:li", f"study:{study.study_instance_uid}")
    session = await house.session("li", added.password)
    asked = listing(session, study, keywords=["PatientName"])  # type: ignore[arg-type]  # a person asks as well
    answer = await house.front.call(asked, p.ListedElsewhere)
    return study.study_instance_uid in answer.views


async def stored_through_without_the_right(house: House) -> bool:
    """A workstation that may not store writes into the old PACS."""
    writer = await house.device("writer", "WRITER", ["query"])
    asked = p.AdmitElsewhere(writer, "dimse", attributes(1))
    return await answered(house.front.call(asked, p.Noted), p.Noted)


async def passed_on_without_an_entry(house: House) -> bool:
    """An instance is acknowledged whose hash no entry of the log holds."""
    sender = await house.device("cr-1", "CR1", ["store"])
    before = await _entries(house)
    digest = hashlib.sha256(b"film").digest()
    await house.front.call(p.PassedElsewhere(sender, "dimse", attributes(1), digest, 4), p.Noted)
    return digest.hex() not in "".join((await _entries(house))[len(before) :])


async def _entries(house: House) -> list[str]:
    page = await house.admin.call(p.AuditPage(start=0, count=500), p.AuditEntries)
    return [text for _, text in page.entries]
