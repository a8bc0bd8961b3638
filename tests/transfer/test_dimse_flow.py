"""Large instances over the wire: admitted while they arrive, by a real guard, whatever they contradict."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvloop

from helpers.front_house import CT, EXPLICIT_LE, QUICK, ct_slice, front_house, make_template
from helpers.raw_scu import RawAssociation
from ribcage.database.schema import instance, parked
from ribcage.dicom import dimse
from ribcage.transfer.limits import FrontSettings
from ribcage.usage.disclose import WayOut
from transfer.test_dimse_store import _data_set_of, _reader

PIXELS = 1024  # 2 MiB


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def associate(house, context) -> RawAssociation:
    return RawAssociation(house.address, [(CT, [EXPLICIT_LE])], ssl_context=context, calling="CT1")


def send_all(house, context, instances: list[tuple[str, bytes]]) -> list[int]:
    with associate(house, context) as association:
        return [association.store(CT, uid, data) for uid, data in instances]


def count(house, table: sa.Table) -> int:
    with house.house.server._core.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def other(data: bytes) -> bytes:
    """The same instance with another last pixel."""
    return data[:-1] + bytes([data[-1] ^ 1])


def test_large_instances_come_back_bit_for_bit_and_are_kept_once(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            made = [ct_slice(number, PIXELS) for number in (1, 2, 3)]
            sent = [*made, made[0], made[2]]
            assert await asyncio.to_thread(send_all, house, context, sent) == [0] * 5
            assert await asyncio.to_thread(send_all, house, context, [made[1]]) == [0]
            assert len(list(house.objects.list_files())) == 3
            way = WayOut(house.house.front, house.objects)
            assert await _data_set_of(way, await _reader(house)) == dict(made)
            assert await house.house.verify() == []

    uvloop.run(main())


def test_what_contradicts_is_parked_once_and_answered_as_new(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            uid, data = ct_slice(1, PIXELS)
            stranger = ct_slice(2, PIXELS, PatientID="P-0002", PatientName="Other^Name")
            for sent, held, apart in (
                ([(uid, data)], 1, 0),
                ([(uid, other(data))], 1, 1),  # another hash under the same UID
                ([(uid, other(data)), (uid, data)], 1, 1),
                ([stranger], 1, 2),  # another patient in the study
                ([stranger, ct_slice(3, PIXELS), stranger], 2, 2),
            ):
                assert set(await asyncio.to_thread(send_all, house, context, sent)) == {0}
                assert (count(house, instance), count(house, parked)) == (held, apart)
            assert len(list(house.objects.list_files())) == 4
            assert await house.house.verify() == []

    uvloop.run(main())


def test_one_that_breaks_off_leaves_no_file_and_the_front_serves(template: Path, tmp_path: Path) -> None:
    def break_off(house, context, instant: bool) -> None:
        uid, data = ct_slice(1, PIXELS)
        association = associate(house, context)
        request = dimse.CStoreRq(1, CT, uid)
        pdus = association.upper_layer.stream_data(association.context_for(CT), request, [data])
        for pdu in list(pdus)[:-1]:
            association.socket.sendall(pdu)
        if instant:
            association.close()
        else:
            association.abort()

    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            for instant in (True, False):
                await asyncio.to_thread(break_off, house, context, instant)
            assert await asyncio.to_thread(send_all, house, context, [ct_slice(2, PIXELS)]) == [0]
            async with asyncio.timeout(10):
                while len(list(house.objects.list_files())) != 1:
                    await asyncio.sleep(0)
            assert count(house, instance) == 1
            assert await house.house.verify() == []

    uvloop.run(main())


def test_a_film_larger_than_the_fronts_bound_is_taken(template: Path, tmp_path: Path) -> None:
    narrow = FrontSettings(Path(), Path(), limits=replace(QUICK, max_buffered_bytes=8_000_000))

    async def main() -> None:
        async with front_house(template, tmp_path, narrow) as house:
            context = await house.device("ct1", "CT1", ["store"])
            uid, data = ct_slice(1, 3072)  # 18 MiB
            data = data[: -len(data) // 2] + os.urandom(len(data) // 2)
            assert await asyncio.to_thread(send_all, house, context, [(uid, data)]) == [0]
            assert house.front._site.buffered_bytes == 0

    uvloop.run(main())
