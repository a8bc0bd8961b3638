"""Attacks on releases to research: no consent, no grant, a leak past the check, a name for one person alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydicom.dataset import Dataset

from dicom.data_builders import EXPLICIT, encode
from helpers.deid_objects import leaks
from helpers.guard_house import House
from helpers.research_house import PROJECT, SECRETS, Research, research
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.oversight import deid_making
from ribcage.oversight.release import ReleaseFailed


async def _handed(r: Research, *studies: str) -> bool:
    """Whether anything of them is handed over."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = await r.release(Path(folder) / "out", *studies)
        except ReleaseFailed:
            return False
        return result.files > 0 and any(Path(folder).rglob("*.dcm"))


async def release_without_consent(house: House) -> bool:
    """The project has its grant; the patient was never asked."""
    r = await research(house)
    study = await r.store()
    await r.grant(study)
    return await _handed(r, study)


async def release_without_grant(house: House) -> bool:
    """The patient consented to research; this project was not granted the study."""
    r = await research(house)
    study = await r.store()
    await r.consent()
    return await _handed(r, study)


async def release_after_withdrawal(house: House) -> bool:
    """A release holds its receipt; the patient withdraws; it asks for the next images."""
    r = await research(house)
    study = await r.store()
    await r.grant(study)
    await r.consent()
    who = p.Release((await r.begin(study)).ticket)
    asked = p.Disclose(who, "release", study, want="full", purpose="HRESCH")
    live = await house.front.call(asked, p.Disclosed)
    await r.consent(given=False)
    try:
        wanted = p.Open(live.receipt, who, [one.object_id for one in live.instances])
        return isinstance(await house.front.ask(wanted), p.Opened)
    except GuardRefused:
        return False


async def leak_past_the_check(house: House) -> bool:
    """An engine that leaves a name in: does it get out?"""
    r = await research(house)
    study = await r.store(slices=1)
    await r.grant(study)
    await r.consent()
    with tempfile.TemporaryDirectory() as folder:
        try:
            await r.release(Path(folder) / "out", study, make=leaving_a_name)
        except ReleaseFailed:
            return False
        return any(leaks(path.read_bytes(), SECRETS) for path in Path(folder).rglob("*.dcm"))


def leaving_a_name(work: deid_making.Work) -> deid_making.Made:
    """What an engine with a fault makes: a name behind the last attribute."""
    made = deid_making.make(work)
    for each in made.released:
        path = work.out / each.output
        padding = Dataset()
        padding.add_new(0xFFFCFFFC, "OB", b"LEAKED ZHANGWEI ")
        path.write_bytes(path.read_bytes() + encode(padding, EXPLICIT))
    return deid_making.Made(made.outcomes, deid_making.judged(work, made.outcomes))


async def one_person_reidentifies(house: House) -> bool:
    """An administrator asks who stands behind a pseudonym, and approves it herself."""
    r = await research(house)
    study = await r.store(slices=1)
    await r.grant(study)
    await r.consent()
    with tempfile.TemporaryDirectory() as folder:
        await r.release(Path(folder) / "out", study)
        pseudonym = next(each.name for each in (Path(folder) / "out").iterdir() if each.name != "reports")
    who = await r.second()
    asked = p.AskReidentification(PROJECT, pseudonym, "data-quality", who.approves())
    number = (await house.admin.call(asked, p.ReidentificationItem)).number
    try:
        approval = p.ApproveReidentification(number, pseudonym, who.approves())
        told = await house.admin.call(approval, p.Reidentified)
    except GuardRefused:
        return False
    return told.patients == [r.patient()]
