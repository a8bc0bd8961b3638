"""Attacks on the sending queue: after a revocation, through a rule, at a destination's address, by forged studies.

Each tells whether it succeeded.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import uvloop

from attacks.guard_attacks import against_guard, answered
from helpers.front_house import ct_slice, front_house, make_template
from helpers.guard_house import House, attributes, edit, new_house, running
from helpers.queue_house import IMPATIENT, at, ended, jobs, node, queued
from helpers.retrieve_peers import STUDY, destination, filled, granted, stored
from ribcage.guard import protocol as p
from ribcage.guard.limits import GuardLimits


def forwarded_after_revocation(folder: Path) -> bool:
    """A job waits for a destination that was away; when it is back its grant is gone."""

    async def run() -> bool:
        template = make_template(folder / "template")
        async with front_house(template, folder / "work", limits=IMPATIENT) as house:
            await filled(house, [ct_slice(1)])
            leaf, trusted = await node(house, grant=False)
            number = await granted(house, "node")
            await at(house, 1)
            waiting = await queued(house)
            await house.house.admin.call(p.RevokeGrant(grant_id=number), p.Noted)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, port)
                await ended(house, waiting)
            return bool(got.data)

    return uvloop.run(run())


def queued_for_an_impostor(folder: Path) -> bool:
    """Another registered device listens where the destination of a job should."""

    async def run() -> bool:
        template = make_template(folder / "template")
        limits = replace(IMPATIENT, queue_tries=2)
        async with front_house(template, folder / "work", limits=limits) as house:
            await filled(house, [ct_slice(1)])
            await node(house)
            other, trusted = await house.leaf("other", "OTHER", ["store"])
            with destination("NODE", other, trusted) as (got, port):
                await at(house, port)
                await ended(house, await queued(house))
            return bool(got.data)

    return uvloop.run(run())


@against_guard
async def rule_for_a_stranger(house: House) -> bool:
    """A rule names a destination that nobody registered."""
    request = p.AddRoute("NODE", p.RouteConditions(modality="CR"))
    return await answered(house.admin.call(request, p.RouteAdded), p.RouteAdded)


def rule_by_sql(folder: Path) -> bool:
    """Whoever has the database's key points a rule at another destination."""

    async def fill() -> None:
        async with new_house(folder) as house:
            for name in ("node", "other"):
                await house.device(name, name.upper(), ["retrieve"])
                request = p.AddDestination(name.upper(), name, "127.0.0.1", 104)
                await house.admin.call(request, p.Noted)
            rule = p.AddRoute("NODE", p.RouteConditions(modality="CR"))
            await house.admin.call(rule, p.RouteAdded)

    async def use() -> bool:
        async with running(folder / "home") as house:
            modality = await house.device("cr-1", "CR1", ["store"])
            await house.store(modality, attributes(1), b"a film")
            lines = await house.admin.call(p.QueuePage(0, 10), p.QueueLines)
            return any(one.ae_title == "OTHER" for one in lines.jobs)

    asyncio.run(fill())
    if edit(folder / "home", "UPDATE route_rule SET destination = 'OTHER'") != 1:
        raise RuntimeError("the database did not take the edit")
    return asyncio.run(use())


def forged_study_pulls_priors(folder: Path) -> bool:
    """A modality makes up a study under somebody's Patient ID; the destination may have that study and no other."""
    forged = {"StudyInstanceUID": f"{STUDY}.9", "SeriesInstanceUID": f"{STUDY}.9.1"}
    pulls = forged | {"SeriesInstanceUID": f"{STUDY}.9.2", "StationName": "FORGED"}

    async def run() -> bool:
        template = make_template(folder / "template")
        async with front_house(template, folder / "work", limits=IMPATIENT) as house:
            leaf, trusted = await node(house, grant=False)
            victim, _ = await filled(house, [ct_slice(1), ct_slice(2, **forged)])
            grant = p.AddGrant("device:node", f"study:{STUDY}.9", "full")
            await house.house.admin.call(grant, p.GrantAdded)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, port)
                rule = p.AddRoute("NODE", p.RouteConditions(station="forged"), p.Priors(3))
                await house.house.admin.call(rule, p.RouteAdded)
                forger = await house.device("ct2", "CT2", ["store"])
                (lie,) = await stored(house, forger, [ct_slice(3, **pulls)], "CT2")
                for one in await jobs(house):
                    await ended(house, one.job)
            if lie not in got.data:
                raise RuntimeError("the forged study did not arrive")
            return victim in got.data

    return uvloop.run(run())


async def _pulled(folder: Path, limits: GuardLimits, ids: list[str]) -> int:
    """A modality makes up a study for each of these patients; how many old ones are queued."""
    async with new_house(folder, limits) as house:
        await house.device("node", "NODE", ["retrieve"])
        await house.admin.call(p.AddDestination("NODE", "node", "127.0.0.1", 104), p.Noted)
        rule = p.AddRoute("NODE", p.RouteConditions(station="forged"), p.Priors(3))
        await house.admin.call(rule, p.RouteAdded)
        modality = await house.device("cr-1", "CR1", ["store"])
        for number, patient in enumerate(ids):
            await house.store(modality, attributes(number, patient_id=patient), b"a film %d" % number)
        for number, patient in enumerate(ids, 100):
            forged = attributes(number, patient_id=patient, station_name="FORGED")
            await house.store(modality, forged, b"a lie %d" % number)
        lines = await house.admin.call(p.QueuePage(0, 100), p.QueueLines)
        return sum(one.why == "prior" for one in lines.jobs)


def forged_studies_empty_the_archive(folder: Path) -> bool:
    """One Patient ID after the other, so that everybody's films are on their way."""
    limits = GuardLimits(priors_per_hour=2)
    return asyncio.run(_pulled(folder, limits, ["A", "B", "C", "D"])) > limits.priors_per_hour


def unnamed_study_pulls_the_unnamed(folder: Path) -> bool:
    """A study under the ID of all who have none."""
    return asyncio.run(_pulled(folder, GuardLimits(), ["UNKNOWN"])) > 0
