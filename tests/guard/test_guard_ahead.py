"""Sealing keys given ahead: what is sealed with them is held to everything that an admission is held to."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from helpers.guard_house import House, attributes, new_house
from ribcage.crypto.sealing import Envelope, Stream, seal
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits
from ribcage.storage.objects import ObjectStore

EXPLICIT = "1.2.840.10008.1.2.1"
FIRST = attributes(1)
SECOND = msgspec.structs.replace(FIRST, sop_instance_uid=FIRST.sop_instance_uid + ".2")


async def seal_ahead(
    house: House, device: p.Device, given: p.Admitted, about: p.Attributes, data: bytes
) -> p.Committed:
    """What a front does with keys that it has already."""
    digest = hashlib.sha256(data).digest()
    envelope = Envelope(Stream.HEADER, given.epoch, given.hospital, given.key_id, given.object_id)
    sealed = seal(given.header_key, envelope, data)
    location = ObjectStore(house.home / "objects").write(given.object_id, [sealed])
    admit = p.Admit(device, "dimse", "RIBCAGE", about, EXPLICIT, digest, len(data))
    commit = p.Commit(given.admission, location, len(sealed), len(data), 0, 0, len(sealed), 0, digest, admit)
    try:
        return await house.front.call(commit, p.Committed)
    except GuardRefused:
        ObjectStore(house.home / "objects").remove_uncommitted(location)  # rule 5 of `capture.admit`
        raise


async def first(house: House) -> tuple[p.Device, p.Admitted]:
    """A device that stored one instance, and the keys it was given ahead."""
    device = await house.device("cr-1", "CR1", ["store"])
    committed = await house.store(device, FIRST, b"first")
    assert isinstance(committed, p.Committed) and committed.ahead is not None
    return device, committed.ahead


def play(folder: Path, story: Callable[[House], Awaitable[None]], limits: GuardLimits | None = None) -> None:
    async def run() -> None:
        async with new_house(folder, limits or GuardLimits()) as house:
            await story(house)
            assert await house.verify() == []

    asyncio.run(run())


async def instances(house: House) -> int:
    return (await house.admin.call(p.GetStatus(), p.Status)).instances


def test_it_is_stored_like_any_other_and_brings_the_next_keys(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device, given = await first(house)
        for number in range(3):
            about = msgspec.structs.replace(FIRST, sop_instance_uid=f"2.25.77.{number}")
            committed = await seal_ahead(house, device, given, about, bytes([number]))
            assert committed.kept and not committed.parked and committed.ahead is not None
            assert committed.ahead.object_id != given.object_id
            given = committed.ahead
        assert await instances(house) == 4

    play(tmp_path, story)


def test_keys_serve_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device, given = await first(house)
        await seal_ahead(house, device, given, SECOND, b"second")
        third = msgspec.structs.replace(SECOND, sop_instance_uid="2.25.78")
        admit = p.Admit(device, "dimse", "RIBCAGE", third, EXPLICIT, bytes(32), 5)
        location = ObjectStore.location(given.object_id)
        again = p.Commit(given.admission, location, 5, 5, 0, 0, 5, 0, bytes(32), admit)
        with pytest.raises(GuardRefused, match="invalid"):
            await house.front.call(again, p.Committed)
        assert await instances(house) == 2

    play(tmp_path, story)


@pytest.mark.parametrize(
    "about",
    [
        pytest.param(msgspec.structs.replace(SECOND, study_instance_uid="2.25.1"), id="another study"),
        pytest.param(msgspec.structs.replace(SECOND, patient_id="SOMEBODY-ELSE"), id="another patient"),
        pytest.param(FIRST, id="other bytes under a UID that is held"),
    ],
)
def test_what_contradicts_what_is_held_has_to_be_admitted_by_itself(
    tmp_path: Path, about: p.Attributes
) -> None:
    async def story(house: House) -> None:
        device, given = await first(house)
        with pytest.raises(GuardRefused, match="invalid"):
            await seal_ahead(house, device, given, about, b"second")
        assert await instances(house) == 1
        admitted = await house.store(device, about, b"second")  # the long way: parked, or a study of its own
        assert isinstance(admitted, p.Committed)

    play(tmp_path, story)


def test_what_is_parked_already_is_not_parked_twice(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device, _ = await first(house)
        parked = await house.store(device, FIRST, b"other bytes")
        assert isinstance(parked, p.Committed) and parked.parked and parked.ahead is None
        stored = await house.store(device, SECOND, b"second")
        assert isinstance(stored, p.Committed) and stored.ahead is not None
        with pytest.raises(GuardRefused, match="invalid"):
            await seal_ahead(house, device, stored.ahead, FIRST, b"other bytes")
        assert isinstance(await house.store(device, FIRST, b"other bytes"), p.AlreadyHeld)

    play(tmp_path, story)


def test_the_same_instance_again_is_held_and_brings_nothing(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device, given = await first(house)
        again = await seal_ahead(house, device, given, FIRST, b"first")
        assert (again.kept, again.ahead) == (False, None)
        ObjectStore(house.home / "objects").remove_uncommitted(ObjectStore.location(given.object_id))
        assert await instances(house) == 1

    play(tmp_path, story)


def test_a_device_suspended_meanwhile_stores_nothing(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device, given = await first(house)
        await house.admin.call(p.SuspendDevice(name="cr-1", suspended=True), p.Noted)
        with pytest.raises(GuardRefused, match="not_authenticated"):
            await seal_ahead(house, device, given, SECOND, b"second")
        assert await instances(house) == 1

    play(tmp_path, story)


def test_keys_of_another_device_serve_nobody(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        _, given = await first(house)
        other = await house.device("cr-2", "CR2", ["store"])
        reader = await house.device("ws-1", "WS1", ["retrieve"])
        with pytest.raises(GuardRefused, match="invalid"):
            await seal_ahead(house, other, given, SECOND, b"second")
        with pytest.raises(GuardRefused):
            await seal_ahead(house, reader, given, SECOND, b"second")
        assert await instances(house) == 1

    play(tmp_path, story)


def test_a_plain_commit_does_not_use_them(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        _, given = await first(house)
        location = ObjectStore.location(given.object_id)
        plain = p.Commit(given.admission, location, 5, 5, 0, 0, 5, 0, bytes(32))
        with pytest.raises(GuardRefused, match="invalid"):
            await house.front.call(plain, p.Committed)
        assert await instances(house) == 1

    play(tmp_path, story)


def test_they_end_with_the_association(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device, given = await first(house)
        ended = p.IngestClosed(device, "dimse", {FIRST.study_instance_uid: 1}, 0)
        await house.front.call(ended, p.IngestNoted)
        with pytest.raises(GuardRefused, match="invalid"):
            await seal_ahead(house, device, given, SECOND, b"second")

    play(tmp_path, story)


def test_many_that_are_out_bring_no_more(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device = await house.device("cr-1", "CR1", ["store"])
        given = [await house.store(device, attributes(number), b"x") for number in range(1, 7)]
        brought = [isinstance(each, p.Committed) and each.ahead is not None for each in given]
        assert brought == [True] * 4 + [False] * 2

    play(tmp_path, story, GuardLimits(pending_admissions=8))
