"""Conflicts become part of a study: two persons, nothing held changes, all or nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.guard_house import Clock, attributes, edit, running
from helpers.refusals import reason
from helpers.ward import FIRST, SECOND, Ward, fingerprint, in_ward
from ribcage.guard import filing, ingest_rows
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardError

OTHER = b"another film under a UID that is taken " * 40


async def conflict(ward: Ward, number: int = 1, data: bytes = OTHER, **more: str) -> int:
    """Store what contradicts; its number."""
    given = {"patient_id": FIRST, "patient_name": "Muster^Erika"} | more
    await ward.house.store(ward.cr, attributes(number, **given), data)
    return (await ward.house.admin.call(p.ParkedPage(0, 100), p.ParkedItems)).items[-1].ordinal


async def parked(ward: Ward) -> list[str]:
    return [each.reason for each in (await ward.house.admin.call(p.ParkedPage(0, 100), p.ParkedItems)).items]


async def file(ward: Ward, ordinal: int, **more: object) -> p.ConflictFiled:
    ward.later()
    request = p.FileConflict(ordinal, ward.first.approves(), ward.second.approves(), **more)  # type: ignore[arg-type]
    return await ward.house.admin.call(request, p.ConflictFiled)


async def opened(ward: Ward, who: str, study: str, want: str = "best") -> dict[str, p.OpenedObject]:
    """All objects of a study by the UID under which they leave."""
    ask = p.Disclose(ward.ws[who], "dimse", study, want=want)  # type: ignore[arg-type]
    disclosed = await ward.house.front.call(ask, p.Disclosed)
    wanted = [ref.object_id for ref in disclosed.instances]
    answer = await ward.house.front.call(p.Open(disclosed.receipt, ward.ws[who], wanted), p.Opened)
    return {each.sop_instance_uid: each for each in answer.objects}


def test_a_second_film_under_a_taken_uid_is_filed_beside_the_first(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        house, number = ward.house, await conflict(ward)
        before = (await opened(ward, "first", "1.2.3.1"))["1.2.3.1.1"]
        filed = await file(ward, number)
        assert filed.study_instance_uid == "1.2.3.1"
        assert filed.series_instance_uid == "1.2.3.1.0"
        assert filed.sop_instance_uid.startswith("2.25.")
        now = await opened(ward, "first", "1.2.3.1")
        assert now.keys() == {"1.2.3.1.1", filed.sop_instance_uid}
        assert now["1.2.3.1.1"] == before, "what was held is as it was"
        new = now[filed.sop_instance_uid]
        assert new.addressed is not None
        assert (new.addressed.sop_instance_uid, new.named) == (filed.sop_instance_uid, None)
        await ward.grant("device:ws-first", f"patient:{FIRST}", "original")
        original = await opened(ward, "first", "1.2.3.1", "original")
        assert {each.addressed for each in original.values()} == {None}
        assert await parked(ward) == []
        assert await house.verify() == []

    in_ward(tmp_path, work)


def test_what_was_filed_is_held_when_it_is_sent_again(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await file(ward, await conflict(ward))
        again = attributes(1, patient_id=FIRST, patient_name="Muster^Erika")
        assert isinstance(await ward.house.store(ward.cr, again, OTHER), p.AlreadyHeld)
        assert await parked(ward) == []

    in_ward(tmp_path, work)


def test_an_instance_of_another_patient_is_accepted_under_the_studys_patient(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = await conflict(
            ward, sop_instance_uid="1.2.3.1.9", patient_id="PIDOO0001", patient_name="Muster^Erica"
        )
        filed = await file(ward, number)
        assert filed.sop_instance_uid == "1.2.3.1.9", "a free UID stays"
        new = (await opened(ward, "first", "1.2.3.1"))["1.2.3.1.9"]
        assert new.named is not None
        assert (new.named.patient_id, new.named.patient_name) == (FIRST, "Muster^Erika")

    in_ward(tmp_path, work)


def test_a_film_that_was_sent_into_the_wrong_study_is_attached_to_the_right_one(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = await conflict(
            ward, sop_instance_uid="1.2.3.1.9", patient_id=SECOND, patient_name="Wang^Lei"
        )
        filed = await file(ward, number, study="1.2.3.2")
        assert filed.study_instance_uid == "1.2.3.2"
        assert filed.series_instance_uid.startswith("2.25."), "the series is the other study's"
        new = (await opened(ward, "second", "1.2.3.2"))["1.2.3.1.9"]
        assert new.addressed is not None
        assert (new.addressed.study_instance_uid, new.named) == ("1.2.3.2", None)
        assert len(await opened(ward, "first", "1.2.3.1")) == 1
        assert await ward.house.verify() == []

    in_ward(tmp_path, work)


def test_films_of_one_patient_in_anothers_study_come_together_in_a_new_one(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        for number in (8, 9):
            more = {"sop_instance_uid": f"1.2.3.1.{number}", "patient_id": SECOND, "patient_name": "Wang^Lei"}
            await conflict(ward, data=OTHER + bytes([number]), **more)
        found = [await file(ward, number, new_study=True) for number in (1, 2)]
        assert found[0].study_instance_uid == found[1].study_instance_uid != "1.2.3.1"
        assert len({each.series_instance_uid for each in found}) == 1
        fresh = found[0].study_instance_uid
        assert sorted(await opened(ward, "second", fresh)) == ["1.2.3.1.8", "1.2.3.1.9"]
        assert (fresh, SECOND, "Wang^Lei") in await ward.sees("second")

    in_ward(tmp_path, work)


def test_one_person_alone_files_nothing(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = await conflict(ward)
        ward.later()
        alone = p.FileConflict(number, ward.first.approves(), ward.first.approves())
        assert await reason(ward.house.admin.call(alone, p.ConflictFiled)) == "not_permitted"
        assert await parked(ward) == ["hash_mismatch"]

    in_ward(tmp_path, work)


def test_nothing_is_filed_into_or_out_of_a_study_that_is_to_be_destroyed(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        house, number = ward.house, await conflict(ward)
        ward.later()
        ask = p.AskDestruction("1.2.3.1", "contract-end", ward.first.approves())
        item = await house.admin.call(ask, p.DestructionItem)
        await house.admin.call(p.ApproveDestruction(item.number, ward.second.approves()), p.DestructionItem)
        assert await reason(file(ward, number)) in ("conflict", "unavailable")
        assert await reason(file(ward, number, study="1.2.3.2")) == "conflict"
        assert await parked(ward) == ["hash_mismatch"]

    in_ward(tmp_path, work)


def test_the_patient_reads_that_something_was_filed(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await file(ward, await conflict(ward))
        page = await ward.house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
        bodies = [body for _, body in page.entries if '"conflict-resolved"' in body]
        assert len(bodies) == 1
        assert '"accepted"' in bodies[0]
        assert '"urn:ribcage:patient"' in bodies[0]
        assert "Muster" not in bodies[0]

    in_ward(tmp_path, work)


def test_a_changed_row_of_a_filed_instance_opens_nothing(tmp_path: Path) -> None:
    clock = Clock()

    async def first(ward: Ward) -> None:
        await file(ward, await conflict(ward))

    async def again() -> None:
        async with running(tmp_path / "home", clock=clock) as house:
            ward = Ward(house, clock)
            ward.ws = {"first": p.Device(fingerprint(tmp_path / "home", "ws-first"), "WSFIRST", "127.0.0.1")}
            assert await reason(opened(ward, "first", "1.2.3.1")) == "unavailable"
            assert [each.part for each in await house.verify()] == ["rows"]

    in_ward(tmp_path, first, clock)
    assert edit(tmp_path / "home", "UPDATE filed SET data_set_sha256 = :x", x=bytes(32)) == 1
    asyncio.run(again())


def test_a_removed_row_of_a_filed_instance_is_named(tmp_path: Path) -> None:
    clock = Clock()

    async def first(ward: Ward) -> None:
        await file(ward, await conflict(ward))

    async def again() -> None:
        async with running(tmp_path / "home", clock=clock) as house:
            assert [each.expected for each in await house.verify()] == ["the row of a filed instance"]

    in_ward(tmp_path, first, clock)
    assert edit(tmp_path / "home", "DELETE FROM filed") == 1
    asyncio.run(again())


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("where", ["sealed", "rows", "key", "row"])
def test_filing_that_is_cut_off_happened_or_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The guard dies after the file, among the rows, before the key and before the last row: before or after."""
    clock, happened = Clock(), where in ("key", "row")

    def die(*_: object, **__: object) -> None:
        raise Killed

    async def first(ward: Ward) -> None:
        number = await conflict(ward)
        target = {
            "sealed": (filing.Filing, "_write"),
            "rows": (ingest_rows, "index"),
            "key": (filing, "destroy"),
            "row": (filing, "forget"),
        }[where]
        monkeypatch.setattr(*target, die)
        with pytest.raises(GuardError):
            await file(ward, number)
        monkeypatch.undo()

    async def again() -> None:
        async with running(tmp_path / "home", clock=clock) as house:
            ward = Ward(house, clock)
            ward.ws = {"first": p.Device(fingerprint(tmp_path / "home", "ws-first"), "WSFIRST", "127.0.0.1")}
            assert await parked(ward) == ([] if happened else ["hash_mismatch"])
            assert len(await opened(ward, "first", "1.2.3.1")) == (2 if happened else 1)
            assert await house.verify() == []

    in_ward(tmp_path, first, clock)
    asyncio.run(again())


def test_the_key_that_was_the_conflicts_own_is_destroyed(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = await conflict(ward)
        core = ward.house.server._core
        with core.engine.connect() as connection:
            row = connection.execute(filing.sa.select(filing.parked)).mappings().one()
        await file(ward, number)
        assert core.keyring.is_destroyed(bytes(row["key_id"]))
        assert not (ward.house.home / "objects" / str(row["location"])).exists()

    in_ward(tmp_path, work)


def test_what_is_filed_goes_where_the_rules_say_and_not_back(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        admin, number = ward.house.admin, await conflict(ward)
        await ward.house.device("node", "NODE", ["retrieve"])
        for title, device in (("NODE", "node"), ("CR1", "cr-1")):
            await admin.call(p.AddDestination(title, device, "127.0.0.1", 2762), p.Noted)
        for title, conditions in (
            ("NODE", p.RouteConditions(calling_ae_title="CR1", modality="CR")),
            ("NODE", p.RouteConditions(device="cr-1")),
            ("CR1", p.RouteConditions()),
        ):
            await admin.call(p.AddRoute(title, conditions), p.RouteAdded)
        assert (await admin.call(p.QueuePage(0, 10), p.QueueLines)).jobs == []
        filed = await file(ward, number)
        (job,) = (await admin.call(p.QueuePage(0, 10), p.QueueLines)).jobs
        assert (job.ae_title, job.why, job.study_instance_uid) == ("NODE", "rule", filed.study_instance_uid)
        shown = await admin.call(p.ShowJob(job.job), p.JobShown)
        assert [uid for uid, _, _ in shown.items] == [filed.sop_instance_uid]

    in_ward(tmp_path, work)
