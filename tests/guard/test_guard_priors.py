"""Priors: whose films a new study pulls to a destination, and whose not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from helpers.guard_house import Clock, House, attributes, edit, new_house, running
from helpers.refusals import reason
from helpers.ward import FIRST, SECOND, Ward, in_ward
from ribcage.guard import protocol as p
from ribcage.guard.limits import GuardLimits

HERE = "1.2.3.9"  # the new study
DAY = 86_400


class Radiology:
    """A modality, and NODE with a rule that brings priors."""

    def __init__(self, house: House, clock: Clock) -> None:
        self.house, self.clock = house, clock
        self.cr: p.Device

    async def open(self, conditions: p.RouteConditions | None = None, **priors: object) -> None:
        self.cr = await self.house.device("cr-1", "CR1", ["store"])
        await node(self.house)
        await rule(self.house, conditions, **priors)

    async def store(self, number: int, patient: str = FIRST, /, **more: str) -> None:
        """A study of one film; the new one is number 9."""
        said = attributes(number, **({"patient_id": patient} | more))
        committed = await self.house.store(self.cr, said, b"film %d of a patient" % number)
        assert isinstance(committed, p.Committed)
        assert not committed.parked

    async def pulled(self) -> list[str]:
        """Numbers of the studies queued as priors, in their order."""
        return [one.study_instance_uid.split(".")[3] for one in await jobs(self.house) if one.why == "prior"]


async def room_of(ward: Ward) -> Radiology:
    """The ward's modality, and NODE with its rule."""
    room = Radiology(ward.house, ward.clock)
    room.cr = ward.cr
    await node(ward.house)
    await rule(ward.house)
    return room


async def node(house: House) -> p.Device:
    device = await house.device("node", "NODE", ["store", "retrieve"])
    await house.admin.call(p.AddDestination("NODE", "node", "127.0.0.1", 104), p.Noted)
    return device


async def rule(house: House, conditions: p.RouteConditions | None = None, **priors: object) -> int:
    wanted = p.Priors(**({"count": 3} | priors))  # type: ignore[arg-type]
    request = p.AddRoute("NODE", conditions or p.RouteConditions(study_description="new"), wanted)
    return (await house.admin.call(request, p.RouteAdded)).number


async def jobs(house: House) -> list[p.JobLine]:
    return (await house.admin.call(p.QueuePage(0, 1000), p.QueueLines)).jobs


async def sent(house: House, *, refusal: p.JobRefusal = "") -> None:
    """A front takes every job that is due and sends it, or is refused."""
    while isinstance(taken := await house.front.ask(p.TakeJob()), p.JobTaken):
        for uid in () if refusal else taken.sop_instance_uids:
            await house.front.call(p.JobItem(taken.job, taken.lease, uid, True, 0), p.Noted)
        await house.front.call(p.JobOver(taken.job, taken.lease, refusal), p.Noted)


def in_radiology(
    folder: Path, work: Callable[[Radiology], Awaitable[None]], limits: GuardLimits | None = None
) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, limits, clock) as house:
            await work(Radiology(house, clock))

    asyncio.run(run())


async def forward(house: House, device: p.Device, study: str) -> p.Disclosed:
    """What a front asks before it sends a job."""
    return await house.front.call(p.Disclose(device, "dimse", study, want="full"), p.Disclosed)


NEW = {"study_description": "new"}
FILM = p.RejectedInstance("1.2.3.1", "1.2.840.10008.5.1.4.1.1.1", "1.2.3.1.1")
NOTE = attributes(
    1,
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.59",
    sop_instance_uid="1.2.3.1.7.1",
    series_instance_uid="1.2.3.1.7",
    modality="KO",
)


def test_the_latest_priors_of_this_patient_and_of_nobody_else_are_queued(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open(count=2)
        for number, date in ((1, "20200101"), (2, "20240101"), (3, "20230101"), (4, "20270101")):
            await room.store(number, study_date=date)
        await room.store(5, SECOND)
        await room.store(9, **NEW)
        assert await room.pulled() == ["2", "3"], "the latest two, none dated later than the new one"
        made = await jobs(room.house)
        assert (made[0].why, made[0].study_instance_uid) == ("rule", HERE)
        assert {one.ae_title for one in made} == {"NODE"}
        await sent(room.house)
        assert [(one.state, one.instances) for one in await jobs(room.house)] == [("done", 1)] * 3

    in_radiology(tmp_path, work)


@pytest.mark.parametrize(
    ("same", "years", "expected"),
    [
        ("modality", 0, ["3", "1"]),
        ("body-part", 0, ["2", "1"]),
        ("both", 0, ["1"]),
        ("either", 0, ["3", "2", "1"]),
        ("either", 3, ["3"]),
        ("either", 4, ["3", "2"]),
    ],
)
def test_priors_are_like_the_new_study_and_not_too_old(
    tmp_path: Path, same: str, years: int, expected: list[str]
) -> None:
    async def work(room: Radiology) -> None:
        await room.open(same=same, years=years)
        await room.store(1, study_date="20200102", body_part_examined="chest ")
        await room.store(2, study_date="20220102", body_part_examined="CHEST", modality="CT")
        await room.store(3, study_date="20250102", body_part_examined="HAND")
        await room.store(4, study_date="20250102", body_part_examined="HAND", modality="CT")
        await room.store(9, **NEW, body_part_examined="Chest")
        assert await room.pulled() == expected

    in_radiology(tmp_path, work)


def test_study_without_body_part_or_date_pulls_nothing_by_them(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open(same="body-part")
        await room.store(1)
        await room.store(9, **NEW)
        assert await room.pulled() == [], "no body part is not the same body part"
        await rule(room.house, years=5)
        await room.store(2, study_date="")
        await room.store(8, **NEW, study_date="")
        assert await room.pulled() == ["1"], "a study without a date has no age"

    in_radiology(tmp_path, work)


@pytest.mark.parametrize("identifier", ["", "UNKNOWN", " anon ", "0"])
def test_placeholder_ids_pull_nothing(tmp_path: Path, identifier: str) -> None:
    async def work(room: Radiology) -> None:
        await room.open(same="either")
        await room.store(1, identifier)
        await room.store(2)
        await room.store(9, identifier, **NEW)
        assert await room.pulled() == []

    in_radiology(tmp_path, work)


def test_another_issuer_is_another_patient(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open()
        await room.store(1, issuer_of_patient_id="ELSEWHERE")
        await room.store(9, **NEW)
        assert await room.pulled() == []

    in_radiology(tmp_path, work)


def test_study_that_says_another_birth_date_is_no_prior(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open()
        await room.store(1, patient_birth_date="19500101", study_date="20250101")
        await room.store(2, patient_birth_date="19800101", study_date="20240101")
        await room.store(3, study_date="20230101")
        await room.store(9, **NEW, patient_birth_date="19800101")
        assert await room.pulled() == ["2", "3"], "the ID of 1 was typed wrongly, here or there"

    in_radiology(tmp_path, work)


def test_merged_patients_are_one_and_two_again_when_it_is_undone(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        room = Radiology(ward.house, ward.clock)
        room.cr = ward.cr
        await node(ward.house)
        await rule(ward.house, same="either")
        number = await ward.change("merge", patient=FIRST, into=SECOND)
        await room.store(9, **NEW)
        assert sorted(await room.pulled()) == ["1", "2", "3"]
        await sent(ward.house)
        await ward.change("undo", undoes=number)
        ward.clock.ahead += 2 * DAY
        for job in await jobs(ward.house):
            await ward.house.admin.call(p.DropJob(job.job), p.Noted)
        await room.store(8, SECOND, **NEW)
        assert await room.pulled() == ["2"]

    in_ward(tmp_path, work)


def test_a_study_that_was_moved_is_a_prior_of_its_patient_of_today(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        room = await room_of(ward)
        await room.store(5, "UNKNOWN")
        await ward.change("move", into=SECOND, studies=["1.2.3.3"])
        ward.later()
        await ward.change("move", into=FIRST, studies=["1.2.3.5"])
        await room.store(9, **NEW)
        assert await room.pulled() == ["5", "1"]
        more = {"sop_instance_uid": "1.2.3.5.8", "series_instance_uid": "1.2.3.5.7"}
        await room.store(5, "UNKNOWN", **NEW, **more)
        assert await room.pulled() == ["5", "1"], "what names nobody pulls nobody's, wherever it was put"

    in_ward(tmp_path, work)


def test_studies_that_come_at_once_bring_each_film_once(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open(count=10)
        for number in (1, 2):
            await room.store(number)
        await asyncio.gather(*(room.store(number, **NEW) for number in range(10, 18)))
        uids = list[str]()
        for one in await jobs(room.house):
            shown = await room.house.admin.call(p.ShowJob(one.job), p.JobShown)
            uids += [uid for uid, _, _ in shown.items]
        assert sorted(uids) == sorted(f"1.2.3.{number}.1" for number in (1, 2, *range(10, 18)))

    in_radiology(tmp_path, work)


def test_a_prior_is_queued_once_while_it_waits_or_was_sent_within_a_day(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open(count=10)
        await room.store(1)
        for instance in (1, 2, 3):
            more = {"sop_instance_uid": f"{HERE}.{instance}", "series_instance_uid": f"{HERE}.0.{instance}"}
            await room.store(9, **NEW, **more)
        await room.store(8, **NEW)
        assert await room.pulled() == ["1"], "and 9 waits already, for itself"
        await sent(room.house)
        await room.store(7, **NEW)
        assert await room.pulled() == ["1"], "sent a moment ago"
        await sent(room.house)
        room.clock.ahead += DAY + 60
        await room.store(6, **NEW)
        assert sorted(await room.pulled()) == ["1", "1", "7", "8", "9"], "a day later"

    in_radiology(tmp_path, work)


def test_what_came_to_a_prior_since_it_was_sent_goes_by_itself(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open()
        await room.store(1)
        await room.store(9, **NEW)
        await sent(room.house)
        await room.store(1, sop_instance_uid="1.2.3.1.77")
        await room.store(8, **NEW)
        last = [one for one in await jobs(room.house) if one.why == "prior"][-1]
        shown = await room.house.admin.call(p.ShowJob(last.job), p.JobShown)
        assert [uid for uid, _, _ in shown.items] == ["1.2.3.1.77"]

    in_radiology(tmp_path, work)


def test_failed_prior_stands_once_and_is_tried_again_after_a_day(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open()
        await room.store(1)
        for number, ahead, expected in ((9, 0, "failed"), (8, 0, "failed"), (7, DAY + 60, "waiting")):
            room.clock.ahead += ahead
            await room.store(number, **NEW)
            priors = [one for one in await jobs(room.house) if one.study_instance_uid == "1.2.3.1"]
            if number == 9:
                await sent(room.house, refusal="not_permitted")
                continue
            assert [one.state for one in priors] == [expected]

    in_radiology(tmp_path, work)


def test_rejected_and_closed_studies_are_not_queued(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        room = await room_of(ward)
        qc = await ward.house.device("qc", "QC", ["store", "reject"])
        await ward.house.store(qc, NOTE, b"note", rejection=p.RejectionNote("113039", [FILM]))
        await room.store(9, **NEW)
        assert await room.pulled() == ["3"]
        await sent(ward.house)
        asked = p.AskDestruction("1.2.3.3", "retention-end", ward.first.approves())
        number = (await ward.house.admin.call(asked, p.DestructionItem)).number
        await ward.house.admin.call(p.ApproveDestruction(number, ward.second.approves()), p.DestructionItem)
        ward.clock.ahead += DAY + 60
        await room.store(8, **NEW)
        assert await room.pulled() == ["3", "9"]

    in_ward(tmp_path, work)


def test_a_prior_that_waits_obeys_what_is_decided_when_it_is_sent(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        room, house = Radiology(ward.house, ward.clock), ward.house
        room.cr = ward.cr
        device = await node(house)
        grant = p.AddGrant("device:node", f"patient:{FIRST}", "full", valid_until=ward.clock() + 1e6)
        number = (await house.admin.call(grant, p.GrantAdded)).grant_id
        await rule(house)
        await room.store(9, **NEW)
        assert await room.pulled() == ["3", "1"]
        qc = await house.device("qc", "QC", ["store", "reject"])
        await house.store(qc, NOTE, b"note", rejection=p.RejectionNote("113039", [FILM]))
        assert await reason(forward(house, device, "1.2.3.1")) == "not_found"
        assert len((await forward(house, device, "1.2.3.3")).instances) == 1
        await house.admin.call(p.RevokeGrant(grant_id=number), p.Noted)
        assert await reason(forward(house, device, "1.2.3.3")) == "not_permitted"

    in_ward(tmp_path, work)


def test_nothing_goes_back_to_the_device_it_came_from(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        room.cr = await node(room.house)
        await rule(room.house)
        await room.store(1)
        await room.store(9, **NEW)
        assert await jobs(room.house) == [], "NODE sent the new study itself"
        room.cr = await room.house.device("cr-1", "CR1", ["store"])
        await room.store(2)
        await room.store(8, **NEW)
        assert await room.pulled() == ["2"], "it has its own"

    in_radiology(tmp_path, work)


def test_something_added_to_an_old_study_pulls_nothing(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open()
        await room.store(1)
        await room.store(2)
        room.clock.ahead += 2 * DAY
        await room.store(2, **NEW, sop_instance_uid="1.2.3.2.5", series_instance_uid="1.2.3.2.6")
        assert await room.pulled() == []

    in_radiology(tmp_path, work)


def test_sender_that_pulls_too_much_is_stopped_and_named(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open()
        for number in (1, 2, 3):
            await room.store(number, f"P{number}")
        for number in (1, 2, 3):
            await room.store(10 + number, f"P{number}", **NEW)
        assert await room.pulled() == ["1", "2"]
        alarms = (await room.house.admin.call(p.GetAlarms(), p.Alarms)).items
        assert [each.kind for each in alarms] == ["priors-too-many"]
        page = await room.house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
        told = [text for _, text in page.entries if '"priors-' in text]
        assert len([text for text in told if '"priors-queued"' in text]) == 2
        assert len([text for text in told if '"priors-refused"' in text]) == 1
        assert [one.why for one in await jobs(room.house)].count("rule") == 3, "the new ones go all the same"
        room.clock.ahead += 3601
        await room.store(20, "P3", **NEW)
        assert len(await room.pulled()) == 3

    in_radiology(tmp_path, work, GuardLimits(priors_per_hour=2))


def test_priors_leave_half_of_the_queue_to_what_is_new_and_wait_behind_it(tmp_path: Path) -> None:
    async def work(room: Radiology) -> None:
        await room.open()
        for number in (1, 2, 3):
            await room.store(number)
        await room.store(9, **NEW)
        made = [(one.why, one.refusal) for one in await jobs(room.house)]
        assert made == [("rule", ""), ("prior", ""), ("rule", "queue_full")]
        await room.store(8, SECOND, **NEW)
        order = []
        while isinstance(taken := await room.house.front.ask(p.TakeJob()), p.JobTaken):
            order.append(taken.study_instance_uid)
            for uid in taken.sop_instance_uids:
                await room.house.front.call(p.JobItem(taken.job, taken.lease, uid, True, 0), p.Noted)
            await room.house.front.call(p.JobOver(taken.job, taken.lease, ""), p.Noted)
        assert order[:2] == [HERE, "1.2.3.8"]
        assert len(order) == 3

    in_radiology(tmp_path, work, GuardLimits(queue_jobs=5))


def test_rule_outlives_a_restart_with_its_priors(tmp_path: Path) -> None:
    async def first() -> None:
        async with new_house(tmp_path) as house:
            await node(house)
            await rule(house, years=4, same="either")
            await house.admin.call(p.AddRoute("NODE", p.RouteConditions(modality="CT")), p.RouteAdded)

    async def again() -> list[p.RouteItem]:
        async with running(tmp_path / "home") as house:
            return (await house.admin.call(p.ListRoutes(), p.RouteItems)).items

    asyncio.run(first())
    both = asyncio.run(again())
    assert [each.priors for each in both] == [p.Priors(3, 4, "either"), None]
    assert [each.conditions for each in both] == [
        p.RouteConditions(study_description="new"),
        p.RouteConditions(modality="CT"),
    ]


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": -1}, {"count": 11}, {"years": -1}, {"years": 151}])
def test_rule_with_senseless_priors_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    async def work(room: Radiology) -> None:
        await node(room.house)
        assert await reason(rule(room.house, **wrong)) == "invalid"

    in_radiology(tmp_path, work)


def test_broken_row_of_a_prior_does_not_keep_the_new_study_out(tmp_path: Path) -> None:
    async def fill() -> None:
        async with new_house(tmp_path) as house:
            room = Radiology(house, Clock())
            await room.open(same="either")
            await room.store(1, modality="CT", body_part_examined="CHEST")
            await room.store(2, modality="CT", body_part_examined="CHEST")

    async def use() -> list[str]:
        async with running(tmp_path / "home") as house:
            room = Radiology(house, Clock())
            room.cr = await house.device("cr-2", "CR2", ["store"])
            await room.store(9, **NEW, body_part_examined="CHEST")
            return await room.pulled()

    asyncio.run(fill())
    assert edit(tmp_path / "home", "UPDATE study SET study_date = '20250101' WHERE uid = '1.2.3.1'") == 1
    assert edit(tmp_path / "home", "UPDATE series SET sealed = x'00' WHERE uid = '1.2.3.2.0'") == 1
    assert asyncio.run(use()) == []
