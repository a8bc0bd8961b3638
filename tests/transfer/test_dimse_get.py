"""C-GET through the whole chain, with pynetdicom as the foreign peer over mutual TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from pynetdicom import evt
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelGet as PATIENT_GET

from helpers.front_house import CT, EXPLICIT_LE, ct_slice, front_house, make_template
from helpers.retrieve_peers import STUDY, c_get, filled, granted, identifier, study, workstation
from ribcage.dicom.convert import convert_whole
from ribcage.guard import protocol as p

SERIES = "1.2.826.0.1.3680043.10.3.1"
IMPLICIT_LE, MR = "1.2.840.10008.1.2", "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def test_study_in_the_stored_syntax_comes_bit_for_bit_under_one_disclosure(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            sent = await filled(house, [ct_slice(1), ct_slice(2, 512), ct_slice(3)])
            ws = await workstation(house)
            got = await asyncio.to_thread(c_get, house.address, ws, study())
            assert got.data == sent
            assert [int(one.Status) for one in got.statuses] == [0xFF00, 0xFF00, 0]
            assert [int(one.NumberOfRemainingSuboperations) for one in got.statuses[:-1]] == [2, 1]
            assert got.counts == (3, 0, 0)
            events = await house.events()
            assert events.count('"disclosure-allowed"') == events.count('"disclosure-closed"') == 1

    uvloop.run(main())


def test_each_level_gives_what_it_names_and_each_instance_once(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            other = SERIES + ".2"
            slices = [ct_slice(1), ct_slice(2), ct_slice(3, SeriesInstanceUID=other)]
            one, two, three = await filled(house, slices)
            ws = await workstation(house)

            async def uids(level: str, model: str = PATIENT_GET, **keys: object) -> list[str]:
                wanted = identifier(level, **keys)
                got = await asyncio.to_thread(c_get, house.address, ws, wanted, model=model)
                assert got.status == 0
                return sorted(got.stores)

            assert await uids("PATIENT", PatientID="P-0001") == [one, two, three]
            assert await uids("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES) == [one, two]
            both = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
            assert await uids("IMAGE", **both, SOPInstanceUID=two) == [two]
            assert await uids("IMAGE", **both, SOPInstanceUID=[one, two, one]) == [one, two]
            assert await uids("STUDY", StudyInstanceUID=[STUDY, STUDY]) == [one, two, three]
            assert await uids("IMAGE", **both, SOPInstanceUID="1.2.3.4") == []

    uvloop.run(main())


def test_identifier_that_does_not_fit_its_level_is_a900(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await filled(house, [ct_slice(1)])
            ws = await workstation(house)
            for wanted in (
                identifier("PATIENT", PatientID="P-0001"),  # not in the study root
                identifier("STUDY"),
                identifier("SERIES", SeriesInstanceUID=SERIES),
                identifier("IMAGE", StudyInstanceUID=[STUDY, "1.2"], SOPInstanceUID="1.2"),
                identifier("FRAME", StudyInstanceUID=STUDY),
            ):
                got = await asyncio.to_thread(c_get, house.address, ws, wanted)
                assert (got.status, got.data) == (0xA900, {})
            assert '"disclosure-allowed"' not in await house.events()

    uvloop.run(main())


def test_what_the_peer_refuses_is_counted_and_named(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            uids = list(await filled(house, [ct_slice(number) for number in range(1, 5)]))
            ws = await workstation(house)
            answers: Iterator[int] = iter((0x0000, 0xA700, 0xB007, 0xC123))
            got = await asyncio.to_thread(
                c_get, house.address, ws, study(), answer=lambda _event: next(answers)
            )
            assert (got.status, got.counts) == (0xB000, (1, 2, 1))
            assert got.failed == [uids[1], uids[3]]
            got = await asyncio.to_thread(c_get, house.address, ws, study(), answer=lambda _event: 0xA700)
            assert (got.status, got.counts, got.failed) == (0xA702, (0, 4, 0), uids)

    uvloop.run(main())


def test_cancelled_retrieval_ends_and_says_what_is_left(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await filled(house, [ct_slice(number) for number in range(1, 9)])
            ws = await workstation(house)
            got = await asyncio.to_thread(c_get, house.address, ws, study(), cancel_after=2)
            assert got.status == 0xFE00
            left = int(got.statuses[-1].NumberOfRemainingSuboperations)
            assert left and left + got.counts[0] == 8
            assert len(got.stores) == got.counts[0]

    uvloop.run(main())


def test_device_without_the_right_to_retrieve_gets_no_context(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await filled(house, [ct_slice(1)])
            ws = await workstation(house, "store", "query")
            with pytest.raises(ConnectionError):
                await asyncio.to_thread(c_get, house.address, ws, study())

    uvloop.run(main())


def test_unknown_and_ungranted_study_are_refused_alike(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await filled(house, [ct_slice(1)])
            ws = await house.device("ws1", "WS1", ["retrieve"])
            answers = []
            for uid in (STUDY, "1.2.3.4.5"):
                wanted = identifier(StudyInstanceUID=uid)
                got = await asyncio.to_thread(c_get, house.address, ws, wanted)
                assert got.data == {}
                answers.append((got.status, got.statuses[-1].get("ErrorComment")))
            assert answers[0] == answers[1] == (0x0124, "NotPermitted")

    uvloop.run(main())


def test_revoked_grant_ends_the_running_retrieval(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            uids = list(await filled(house, [ct_slice(number) for number in range(1, 25)]))
            ws = await house.device("ws1", "WS1", ["retrieve"])
            number = await granted(house, "ws1")
            loop = asyncio.get_running_loop()
            asked = 0

            def revoke_at_the_second(_event: evt.Event) -> int:
                nonlocal asked
                asked += 1
                if asked == 2:
                    call = house.house.admin.call(p.RevokeGrant(grant_id=number), p.Noted)
                    asyncio.run_coroutine_threadsafe(call, loop).result(10)
                return 0

            got = await asyncio.to_thread(c_get, house.address, ws, study(), answer=revoke_at_the_second)
            assert got.status == 0xB000
            assert got.counts == (2, 22, 0)
            assert (sorted(got.data), got.failed) == (uids[:2], uids[2:])
            assert '"cut"' in await house.events()

    uvloop.run(main())


def test_instance_of_a_class_without_context_fails_alone(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            await filled(house, [ct_slice(1)])
            ws = await workstation(house)
            got = await asyncio.to_thread(c_get, house.address, ws, study(), sop_class=MR)
            assert (got.status, got.data) == (0xA702, {})
            assert got.failed == [ct_slice(1)[0]]
            assert CT not in got.data

    uvloop.run(main())


def test_peer_that_takes_another_syntax_gets_the_data_set_converted(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            sent = await filled(house, [ct_slice(1), ct_slice(2, 512)])
            ws = await workstation(house)
            got = await asyncio.to_thread(c_get, house.address, ws, study(), syntaxes=(IMPLICIT_LE,))
            assert got.status == 0
            assert got.data == {
                uid: convert_whole(data, EXPLICIT_LE, IMPLICIT_LE) for uid, data in sent.items()
            }
            both = (IMPLICIT_LE, EXPLICIT_LE)  # a context each: the stored one is taken
            got = await asyncio.to_thread(c_get, house.address, ws, study(), syntaxes=both)
            assert got.data == sent

    uvloop.run(main())
