"""Reports of storage commitment as the guard keeps them: durable, leased, bounded, each for its own device."""

from __future__ import annotations

import asyncio
from pathlib import Path

from helpers.guard_house import Clock, House, attributes, new_house, running
from helpers.refusals import reason
from ribcage.guard import protocol as p
from ribcage.guard.limits import GuardLimits

CR = "1.2.840.10008.5.1.4.1.1.1"
LIMITS = GuardLimits(commitment_reports=3, queue_tries=2)
FILM = b"a film " * 100


async def ask(house: House, device: p.Device, transaction: str, *uids: str) -> int:
    request = p.CheckCommitment(device, [(CR, uid) for uid in uids or ("1.2.404",)], transaction)
    return (await house.front.call(request, p.CommitmentChecked)).report


async def lines(house: House) -> list[p.ReportLine]:
    return (await house.admin.call(p.ReportPage(0, 100), p.ReportLines)).reports


async def modality(house: House, name: str = "cr-1", title: str = "CR1") -> p.Device:
    device = await house.device(name, title, ["store"])
    await house.admin.call(p.AddDestination(title, name, "127.0.0.1", 2762), p.Noted)
    return device


def test_a_report_outlives_a_restart_and_is_delivered_once(tmp_path: Path) -> None:
    clock = Clock()

    async def before() -> p.Device:
        async with new_house(tmp_path, LIMITS, clock) as house:
            device, said = await modality(house), attributes(1)
            await house.store(device, said, FILM)
            await ask(house, device, "1.2.7", said.sop_instance_uid)
            assert isinstance(await house.front.ask(p.TakeReport()), p.NoJob), "the device may hear it itself"
            return device

    async def after(device: p.Device) -> None:
        async with running(tmp_path / "home", LIMITS, clock) as house:
            clock.ahead += 11
            taken = await house.front.call(p.TakeReport(), p.ReportTaken)
            assert (taken.ae_title, taken.port, taken.fingerprint) == ("CR1", 2762, device.fingerprint)
            assert taken.owed.transaction == "1.2.7"
            assert [word for _, _, word in taken.owed.told] == ["held"]
            assert isinstance(await house.front.ask(p.TakeReport()), p.NoJob), "one sender at a time"
            assert (await house.front.call(p.ListOwedReports(device), p.OwedReports)).reports == []
            wrong = p.ReportOver(taken.owed.report, b"0" * 16, "")
            assert await reason(house.front.ask(wrong)) == "conflict"
            assert [each.state for each in await lines(house)] == ["sending"]
            await house.front.call(p.ReportOver(taken.owed.report, taken.lease, ""), p.Noted)
            assert [each.state for each in await lines(house)] == ["done"]
            assert await reason(house.front.ask(p.ReportOver(1, taken.lease, ""))) == "conflict"
            clock.ahead += 10_000
            assert isinstance(await house.front.ask(p.TakeReport()), p.NoJob)

    asyncio.run(after(asyncio.run(before())))


def test_a_sender_that_is_gone_loses_its_lease_and_tries_are_counted(tmp_path: Path) -> None:
    clock = Clock()

    async def work() -> None:
        async with new_house(tmp_path, LIMITS, clock) as house:
            device = await modality(house)
            await ask(house, device, "1.2.7")
            clock.ahead += 11
            gone = await house.front.call(p.TakeReport(), p.ReportTaken)
            clock.ahead += 61
            await house.front.ask(p.TakeReport())  # gives it back
            assert [(each.state, each.refusal, each.tries) for each in await lines(house)] == [
                ("waiting", "interrupted", 0)
            ]
            late = p.ReportOver(gone.owed.report, gone.lease, "")
            assert await reason(house.front.ask(late)) == "conflict"
            for tries, state in ((1, "waiting"), (2, "failed")):
                clock.ahead += 100
                taken = await house.front.call(p.TakeReport(), p.ReportTaken)
                over = p.ReportOver(taken.owed.report, taken.lease, "no_association")
                await house.front.call(over, p.Noted)
                assert [(each.state, each.tries) for each in await lines(house)] == [(state, tries)]
            (owed,) = (await house.front.call(p.ListOwedReports(device), p.OwedReports)).reports
            await house.front.call(p.ReportHeard(device, owed.report, confirmed=True), p.Noted)
            assert [each.state for each in await lines(house)] == ["done"]

    asyncio.run(work())


def test_each_device_hears_of_its_own_and_the_oldest_give_way(tmp_path: Path) -> None:
    async def work() -> None:
        async with new_house(tmp_path, LIMITS) as house:
            one, other = await modality(house), await modality(house, "cr-2", "CR2")
            reader = await house.device("ws", "WS", ["query", "retrieve"])
            number = await ask(house, other, "1.2.1")
            for count in range(6):
                await ask(house, one, f"1.2.{count}")
            await ask(house, one, "1.2.5")  # asked again: one report
            mine = (await house.front.call(p.ListOwedReports(one), p.OwedReports)).reports
            assert [each.transaction for each in mine] == ["1.2.3", "1.2.4", "1.2.5"]
            foreign = p.ReportHeard(one, number, confirmed=True)
            assert await reason(house.front.ask(foreign)) == "not_found"
            assert await reason(house.front.ask(p.ListOwedReports(reader))) == "not_permitted"
            (theirs,) = (await house.front.call(p.ListOwedReports(other), p.OwedReports)).reports
            assert theirs.report == number

    asyncio.run(work())


def test_a_suspended_device_is_called_by_nobody(tmp_path: Path) -> None:
    clock = Clock()

    async def work() -> None:
        async with new_house(tmp_path, LIMITS, clock) as house:
            await ask(house, await modality(house), "1.2.7")
            await house.admin.call(p.SuspendDevice("cr-1", suspended=True), p.Noted)
            clock.ahead += 11
            assert isinstance(await house.front.ask(p.TakeReport()), p.NoJob)
            assert [(each.state, each.refusal) for each in await lines(house)] == [
                ("waiting", "destination_unknown")
            ]

    asyncio.run(work())
