"""Attacks on the sending queue: after a revocation, through a rule, at a destination's address.

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
from helpers.queue_house import IMPATIENT, at, ended, node, queued
from helpers.retrieve_peers import destination, filled, granted
from ribcage.guard import protocol as p


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
