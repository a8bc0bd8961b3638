"""Receipts for saving: one `Admit`, of whoever asked, for what was asked, while the right lasts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.guard_house import Clock, House, attributes, new_house
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

SR = "1.2.840.10008.5.1.4.1.1.88.34"
STUDY = "1.2.3.1"


def ask(who: p.Principal, number: int = 1, **more: object) -> p.Derive:
    values = {
        "sop_class_uid": SR,
        "sop_instance_uid": f"{STUDY}.7.{number}",
        "study_instance_uid": STUDY,
        "studies": [],
        "instances": [f"{STUDY}.1"],
        "masked": True,
    }
    return p.Derive(principal=who, channel="dicomweb", **(values | more))  # type: ignore[arg-type]


def report(number: int = 1, **more: str) -> p.Attributes:
    values = {
        "sop_class_uid": SR,
        "sop_instance_uid": f"{STUDY}.7.{number}",
        "series_instance_uid": f"{STUDY}.7",
    }
    return attributes(1, **(values | more))


async def doctor(house: House, name: str = "li") -> p.Session:
    added = await house.person(name, "clinician")
    await house.admin.call(
        p.AddGrant(subject=f"person:{name}", resource=f"study:{STUDY}", view="full"), p.GrantAdded
    )
    return await house.session(name, added.password)


async def film(house: House) -> None:
    device = await house.device("cr1", "CR1", ["store"])
    await house.store(device, attributes(1), bytes(100))


async def refused(house: House, who: p.Principal, what: p.Attributes, receipt: bytes) -> str:
    with pytest.raises(GuardRefused) as caught:
        await house.store(who, what, b"a report " + what.sop_instance_uid.encode(), receipt)
    return caught.value.reason


def test_a_receipt_is_spent_once_by_its_owner_for_its_object(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            await film(house)
            li, zhao = await doctor(house), await doctor(house, "zhao")
            receipts = [(await house.front.call(ask(li), p.Derived)).receipt for _ in range(4)]
            assert await refused(house, zhao, report(), receipts[0]) == "not_permitted"
            assert await refused(house, li, report(2), receipts[1]) == "not_permitted"
            other = report(sop_class_uid="1.2.840.10008.5.1.4.1.1.88.59")
            assert await refused(house, li, other, receipts[2]) == "not_permitted"
            assert await refused(house, li, report(), bytes(156)) == "not_permitted"
            assert isinstance(await house.store(li, report(), b"a report", receipts[3]), p.Committed)
            for spent in receipts:
                assert await refused(house, li, report(3), spent) == "not_permitted"
            assert await house.verify() == []

    asyncio.run(run())


def test_the_patient_is_named_for_an_object_under_the_pseudonym_alone(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(tmp_path, clock=clock) as house:
            await film(house)
            added = await house.person("li", "radiologist")
            await house.admin.call(
                p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full"), p.GrantAdded
            )
            li = await house.session("li", added.password)
            named = (await house.front.call(ask(li), p.Derived)).patient
            assert named is not None
            assert (named.patient_id, named.patient_name) == ("PID000001", "Muster^Erika")
            with pytest.raises(GuardRefused) as caught:
                await house.front.call(ask(li, masked=False), p.Derived)
            assert caught.value.reason == "second_factor_needed"
            assert caught.value.entry >= 0
            receipt = (await house.front.call(ask(li), p.Derived)).receipt
            clock.ahead += 16 * 60
            assert await refused(house, li, report(), receipt) == "not_permitted"

    asyncio.run(run())


@pytest.mark.parametrize(
    "more",
    [
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.104.1"},
        {"instances": [f"1.2.{number}" for number in range(p.MAX_REFERENCES + 1)]},
    ],
    ids=["another class", "too many references"],
)
def test_what_no_viewer_saves_is_invalid(tmp_path: Path, more: dict[str, object]) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            await film(house)
            with pytest.raises(GuardRefused) as caught:
                await house.front.call(ask(await doctor(house), **more), p.Derived)
            assert caught.value.reason == "invalid"

    asyncio.run(run())


def test_one_session_does_not_take_the_room_of_the_others(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            await film(house)
            li, zhao = await doctor(house), await doctor(house, "zhao")
            kept = (await house.front.call(ask(zhao), p.Derived)).receipt
            for _ in range(40):
                await house.front.call(ask(li), p.Derived)
            assert len(house.server._rooms.derivations._allowed) == 17
            assert isinstance(await house.store(zhao, report(), b"a report", kept), p.Committed)

    asyncio.run(run())
