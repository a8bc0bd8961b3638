"""C-MOVE through the whole chain: a pynetdicom storage SCP over mutual TLS is the destination."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop
from pynetdicom import evt

from helpers.front_house import EXPLICIT_LE, FrontHouse, ct_slice, front_house, make_template
from helpers.queue_house import at, node
from helpers.retrieve_peers import Got, c_move, destination, filled, granted, study, workstation
from ribcage.dicom.convert import convert_whole
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

IMPLICIT_LE = "1.2.840.10008.1.2"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


async def _move(house: FrontHouse, to: str = "NODE") -> Got:
    ws = await workstation(house)
    return await asyncio.to_thread(c_move, house.address, ws, study(), to)


def test_study_goes_to_its_destination_bit_for_bit_under_one_disclosure(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            sent = await filled(house, [ct_slice(1), ct_slice(2, 512), ct_slice(3)])
            leaf, trusted = await node(house)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, port)
                answer = await _move(house)
            assert [int(one.Status) for one in answer.statuses] == [0xFF00, 0xFF00, 0]
            assert answer.counts == (3, 0, 0)
            assert got.data == sent
            assert len(got.stores) == 3
            assert got.originators == {("WS1", 9)}
            events = await house.events()
            assert events.count('"disclosure-allowed"') == events.count('"disclosure-closed"') == 1
            assert '"recipient"' in events

    uvloop.run(main())


def test_unknown_removed_and_suspended_destination_is_a801(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await filled(house, [ct_slice(1)])
            ws = await workstation(house)
            leaf, trusted = await node(house)

            async def move(to: str) -> int:
                return (await asyncio.to_thread(c_move, house.address, ws, study(), to)).status

            with destination("NODE", leaf, trusted) as (got, port):
                assert await move("NODE") == 0xA801
                await at(house, port)
                assert await move("NODE") == 0
                suspend = p.SuspendDevice(name="node", suspended=True)
                await house.house.admin.call(suspend, p.Noted)
                assert await move("NODE") == 0xA801
                await house.house.admin.call(p.SuspendDevice(name="node", suspended=False), p.Noted)
                await house.house.admin.call(p.RemoveDestination("NODE"), p.Noted)
                assert await move("NODE") == 0xA801
            assert len(got.stores) == 1

    uvloop.run(main())


def test_destination_with_the_certificate_of_another_gets_nothing(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            uids = list(await filled(house, [ct_slice(1), ct_slice(2)]))
            await node(house)
            other, trusted = await house.leaf("other", "OTHER", ["store", "retrieve"])
            with destination("NODE", other, trusted) as (got, port):
                await at(house, port)
                answer = await _move(house)
            assert (answer.status, answer.counts, answer.failed) == (0xA702, (0, 2, 0), uids)
            assert got.data == {}

    uvloop.run(main())


def test_destination_without_a_grant_gets_nothing(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await filled(house, [ct_slice(1)])
            leaf, trusted = await node(house, grant=False)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, port)
                answer = await _move(house)
            assert (answer.status, got.data) == (0x0124, {})

    uvloop.run(main())


def test_destination_that_fails_half_way_is_counted_and_nothing_is_sent_twice(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            uids = list(await filled(house, [ct_slice(number) for number in range(1, 7)]))
            leaf, trusted = await node(house)
            seen: list[object] = []

            def dies_at_the_third(event: evt.Event) -> int:
                seen.append(event)
                if len(seen) == 3:
                    event.assoc.abort()
                return 0

            with destination("NODE", leaf, trusted, answer=dies_at_the_third) as (got, port):
                await at(house, port)
                answer = await _move(house)
            assert (answer.status, answer.counts) == (0xB000, (2, 4, 0))
            assert answer.failed == uids[2:]
            assert got.stores == uids[:3]

    uvloop.run(main())


def test_revoked_recipient_ends_the_running_retrieval(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            uids = list(await filled(house, [ct_slice(number) for number in range(1, 9)]))
            leaf, trusted = await node(house, grant=False)
            number = await granted(house, "node")
            loop = asyncio.get_running_loop()

            def revoked_at_the_first(_event: evt.Event) -> int:
                if len(got.stores) == 1:
                    call = house.house.admin.call(p.RevokeGrant(grant_id=number), p.Noted)
                    asyncio.run_coroutine_threadsafe(call, loop).result(10)
                return 0

            with destination("NODE", leaf, trusted, answer=revoked_at_the_first) as (got, port):
                await at(house, port)
                answer = await _move(house)
            assert (answer.status, answer.counts) == (0xB000, (1, 7, 0))
            assert got.stores == uids[:1]

    uvloop.run(main())


def test_destination_is_bound_to_its_device_and_stays_inside(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await node(house)
            for wrong in (
                p.AddDestination("OTHER", "node", "127.0.0.1", 104),  # not this device's title
                p.AddDestination("NODE", "node", "8.8.8.8", 104),
                p.AddDestination("NODE", "node", "0.0.0.0", 104),
                p.AddDestination("NODE", "node", "node.example", 104),
                p.AddDestination("NODE", "node", "10.0.0.1", 0),
            ):
                with pytest.raises(GuardRefused, match="invalid"):
                    await house.house.admin.call(wrong, p.Noted)
            with pytest.raises(GuardRefused, match="not_found"):
                await house.house.admin.call(p.AddDestination("NODE", "nobody", "10.0.0.1", 104), p.Noted)
            await at(house, 104)
            listed = await house.house.admin.call(p.ListDestinations(), p.DestinationItems)
            assert listed.items == [p.DestinationItem("NODE", "node", "127.0.0.1", 104)]

    uvloop.run(main())


def test_destination_that_takes_another_syntax_gets_the_data_set_converted(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            sent = await filled(house, [ct_slice(1), ct_slice(2)])
            leaf, trusted = await node(house)
            with destination("NODE", leaf, trusted, syntaxes=(IMPLICIT_LE,)) as (got, port):
                await at(house, port)
                assert (await _move(house)).status == 0
            assert got.data == {
                uid: convert_whole(data, EXPLICIT_LE, IMPLICIT_LE) for uid, data in sent.items()
            }

    uvloop.run(main())
