"""The sending queue through the whole chain: a pynetdicom storage SCP over mutual TLS is the destination."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from helpers.front_house import FrontHouse, ct_slice, front_house, make_template
from helpers.retrieve_peers import STUDY, destination, filled, granted
from ribcage.crypto.authority import Issued
from ribcage.guard import protocol as p

_SECONDS = 20


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


async def _node(house: FrontHouse, *, grant: bool = True) -> tuple[Issued, bytes]:
    """NODE, a device that may retrieve."""
    leaf = await house.leaf("node", "NODE", ["retrieve"])
    if grant:
        await granted(house, "node")
    return leaf


async def _at(house: FrontHouse, port: int) -> None:
    await house.house.admin.call(p.AddDestination("NODE", "node", "127.0.0.1", port), p.Noted)


async def _send(house: FrontHouse) -> int:
    return (await house.house.admin.call(p.QueueStudy(STUDY, "", "NODE"), p.Queued)).job


async def _job(house: FrontHouse, number: int) -> p.JobLine:
    return (await house.house.admin.call(p.ShowJob(number), p.JobShown)).line


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `done`, at most `_SECONDS`."""
    async with asyncio.timeout(_SECONDS):
        while not await done():
            await asyncio.sleep(0.05)


async def ended(house: FrontHouse, number: int) -> p.JobLine:
    """The job once it is done or failed."""

    async def over() -> bool:
        return (await _job(house, number)).state in ("done", "failed")

    await until(over)
    return await _job(house, number)


def test_operators_job_arrives_bit_for_bit_under_one_disclosure(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            sent = await filled(house, [ct_slice(1), ct_slice(2, 512), ct_slice(3)])
            leaf, trusted = await _node(house)
            with destination("NODE", leaf, trusted) as (got, port):
                await _at(house, port)
                job = await ended(house, await _send(house))
            assert (job.state, job.sent, job.instances, job.refusal) == ("done", 3, 3, "")
            assert got.data == sent
            assert len(got.stores) == 3
            events = await house.events()
            assert events.count('"disclosure-allowed"') == events.count('"disclosure-closed"') == 1
            assert '"routing-changed"' in events

    uvloop.run(main())


def test_new_instance_is_queued_once_for_each_destination_that_a_rule_names(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            leaf, trusted = await _node(house)
            with destination("NODE", leaf, trusted) as (got, port):
                await _at(house, port)
                for conditions in (
                    p.RouteConditions(study_description="*thorax?", station="CT-*", body_part="chest"),
                    p.RouteConditions(study_description="CT*"),
                    p.RouteConditions(modality="MR"),
                ):
                    await house.house.admin.call(p.AddRoute("NODE", conditions), p.RouteAdded)
                more = {
                    "StudyDescription": "CT Thorax1",
                    "StationName": "CT-7",
                    "BodyPartExamined": "CHEST",
                }
                slices = [ct_slice(1, **more), ct_slice(2, **more), ct_slice(3)]
                sent = await filled(house, [*slices, slices[0]])
                job = await ended(house, 1)
            assert (job.state, job.why, job.sent, job.instances) == ("done", "rule", 2, 2)
            assert sorted(got.stores) == sorted(list(sent)[:2])

    uvloop.run(main())
