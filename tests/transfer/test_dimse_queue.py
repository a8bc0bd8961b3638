"""The sending queue through the whole chain: a pynetdicom storage SCP over mutual TLS is the destination."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
import uvloop

from helpers.front_house import QUICK, ct_slice, front_house, make_template
from helpers.queue_house import IMPATIENT, Unreliable, at, ended, job, jobs, node, queued, until
from helpers.retrieve_peers import STUDY, c_move, destination, filled, granted, study, workstation
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits
from ribcage.transfer.limits import FrontSettings


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def test_operators_job_arrives_bit_for_bit_under_one_disclosure(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            sent = await filled(house, [ct_slice(1), ct_slice(2, 512), ct_slice(3)])
            leaf, trusted = await node(house)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, port)
                done = await ended(house, await queued(house))
            assert (done.state, done.sent, done.instances, done.refusal) == ("done", 3, 3, "")
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
            leaf, trusted = await node(house)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, port)
                for conditions in (
                    p.RouteConditions(study_description="*thorax?", station="CT-*", body_part="chest"),
                    p.RouteConditions(study_description="CT*", calling_ae_title="CT1"),
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

                async def arrived() -> bool:
                    return len(got.stores) >= 2 and all(one.state == "done" for one in await jobs(house))

                await until(arrived)
                made = await jobs(house)
            assert {one.why for one in made} == {"rule"}
            assert sum(one.instances for one in made) == 2
            assert sorted(got.stores) == sorted(list(sent)[:2])

    uvloop.run(main())


def test_hundred_jobs_with_a_destination_that_fails_lose_and_double_nothing(
    template: Path, tmp_path: Path
) -> None:
    """It drops associations, has no room, and dies; 20 jobs of operators and 100 C-MOVEs whose rest is queued."""

    async def main() -> None:
        quick = FrontSettings(Path(), Path(), limits=QUICK)
        async with front_house(template, tmp_path, quick, limits=IMPATIENT) as house:
            await filled(house, [ct_slice(1), ct_slice(2)])
            leaf, trusted = await node(house)
            ws = await workstation(house)
            answers = Unreliable("ok", "ok", "ok", "drop", "ok", "full", "ok")
            with destination("NODE", leaf, trusted, answer=answers) as (_, port):
                await at(house, port)
                await house.house.admin.call(p.SetDestinationRetry("NODE", True), p.Noted)
                for _ in range(20):
                    await queued(house)
                counts = [
                    (await asyncio.to_thread(c_move, house.address, ws, study(), "NODE")).counts
                    for _ in range(100)
                ]
            assert all(completed + failed == 2 for completed, failed, _ in counts)
            assert any(failed for _, failed, _ in counts)

            async def over() -> bool:
                return all(one.state in ("done", "failed") for one in await jobs(house))

            with destination("NODE", leaf, trusted, answer=answers, port=port):  # it lives again
                await until(over, 200)
            assert {one.state for one in await jobs(house)} == {"done"}
            assert sorted(Counter(answers.answered).values()) == [120, 120]
            assert answers.kept == answers.answered

    uvloop.run(main())


def test_lost_answer_sends_that_instance_again_and_no_other(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            uids = list(await filled(house, [ct_slice(1), ct_slice(2), ct_slice(3)]))
            leaf, trusted = await node(house)
            answers = Unreliable("ok", "mute", "ok", "ok", "ok")
            with destination("NODE", leaf, trusted, answer=answers) as (_, port):
                await at(house, port)
                done = await ended(house, await queued(house))
            assert (done.state, done.sent) == ("done", 3)
            assert Counter(answers.kept) == {uids[0]: 1, uids[1]: 2, uids[2]: 1}

    uvloop.run(main())


def test_revoked_grant_stops_a_job_with_its_reason(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            await filled(house, [ct_slice(1)])
            leaf, trusted = await node(house, grant=False)
            number = await granted(house, "node")
            with destination("NODE", leaf, trusted, answer=Unreliable("full")) as (_, port):
                await at(house, port)
                waiting = await queued(house)

                async def tried() -> bool:
                    return (await job(house, waiting)).tries > 1

                await until(tried)
                assert (await job(house, waiting)).refusal in ("out_of_resources", "")
                await house.house.admin.call(p.RevokeGrant(grant_id=number), p.Noted)
                stopped = await ended(house, waiting)
            assert (stopped.state, stopped.refusal, stopped.sent) == ("failed", "not_permitted", 0)
            assert '"disclosure-refused"' in await house.events()

    uvloop.run(main())


def test_removed_destination_stops_a_job_and_retry_starts_it_again(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            await filled(house, [ct_slice(1)])
            leaf, trusted = await node(house)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, 1)  # nobody listens there
                number = await queued(house)
                await house.house.admin.call(p.RemoveDestination("NODE"), p.Noted)
                stopped = await ended(house, number)
                assert (stopped.state, stopped.refusal) == ("failed", "destination_unknown")
                await at(house, port)
                await house.house.admin.call(p.RetryJob(number), p.Noted)
                assert (await ended(house, number)).state == "done"
            assert len(got.stores) == 1

    uvloop.run(main())


def test_move_leaves_nothing_in_the_queue_unless_the_destination_says_so(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            await filled(house, [ct_slice(1), ct_slice(2)])
            leaf, trusted = await node(house)
            ws = await workstation(house)
            with destination("NODE", leaf, trusted, answer=Unreliable("ok", "full")) as (_, port):
                await at(house, port)
                moved = await asyncio.to_thread(c_move, house.address, ws, study(), "NODE")
            assert (moved.status, moved.counts) == (0xB000, (1, 1, 0))
            assert await jobs(house) == []

    uvloop.run(main())


def test_tries_are_bounded_and_wait_longer_each_time(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        limits = GuardLimits(queue_first_seconds=0.01, queue_most_seconds=0.02, queue_tries=3)
        async with front_house(template, tmp_path, limits=limits) as house:
            await filled(house, [ct_slice(1)])
            await node(house)
            await at(house, 1)
            failed = await ended(house, await queued(house))
            assert (failed.state, failed.refusal, failed.tries) == ("failed", "no_association", 3)

    uvloop.run(main())


def test_queue_is_bounded_and_counts_what_it_did_not_take(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        limits = GuardLimits(queue_first_seconds=60.0, queue_jobs=1)
        async with front_house(template, tmp_path, limits=limits) as house:
            await node(house)
            await at(house, 1)
            rule = p.AddRoute("NODE", p.RouteConditions(modality="CT"))
            await house.house.admin.call(rule, p.RouteAdded)
            other = {"StudyInstanceUID": f"{STUDY}.9", "SeriesInstanceUID": f"{STUDY}.9.1"}
            await filled(house, [ct_slice(1), ct_slice(2, **other), ct_slice(3, **other)])
            lost = [one for one in await jobs(house) if one.refusal == "queue_full"]
            assert [(one.state, one.instances, one.study_instance_uid) for one in lost] == [("failed", 2, "")]
            with pytest.raises(GuardRefused, match="conflict"):
                await queued(house)
            for one in await jobs(house):
                if one.state == "failed":
                    with pytest.raises(GuardRefused, match="conflict"):
                        await house.house.admin.call(p.RetryJob(one.job), p.Noted)
                    await house.house.admin.call(p.DropJob(one.job), p.Noted)

    uvloop.run(main())


def test_rule_for_an_unregistered_destination_or_device_is_refused(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await node(house)
            call = house.house.admin.call
            with pytest.raises(GuardRefused, match="not_found"):
                await call(p.AddRoute("NODE", p.RouteConditions(modality="CT")), p.RouteAdded)
            await at(house, 1)
            for wrong, reason in (
                (p.RouteConditions(device="nobody"), "not_found"),
                (p.RouteConditions(modality="C*"), "invalid"),
                (p.RouteConditions(study_description="*a*b*c*d*e"), "invalid"),
                (p.RouteConditions(station="x" * 65), "invalid"),
            ):
                with pytest.raises(GuardRefused, match=reason):
                    await call(p.AddRoute("NODE", wrong), p.RouteAdded)

    uvloop.run(main())


def test_lost_lease_changes_nothing(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        idle = FrontSettings(Path(), Path(), limits=QUICK)
        async with front_house(
            template, tmp_path, idle, limits=GuardLimits(queue_lease_seconds=0.0)
        ) as house:
            uid = next(iter(await filled(house, [ct_slice(1)])))
            await node(house)
            await at(house, 1)
            number = await queued(house)
            call = house.house.front.call
            for message in (
                p.JobItem(number, b"x" * 16, uid, True, 0),
                p.JobItem(number, b"", uid, True, 0),
                p.HoldJob(number, b""),
                p.JobOver(number, b"x" * 16, ""),
            ):
                with pytest.raises(GuardRefused, match="conflict"):
                    await call(message, p.Noted)
            assert (await job(house, number)).sent == 0

    uvloop.run(main())
