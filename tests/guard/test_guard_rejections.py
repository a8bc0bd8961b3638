"""Rejection notes: what is hidden, from whom, by whom; nothing is lost, and it comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.guard_house import Clock, attributes, edit, running
from helpers.refusals import reason
from helpers.ward import FIRST, Ward, fingerprint, in_ward
from ribcage.guard import protocol as p

KOS = "1.2.840.10008.5.1.4.1.1.88.59"
CR = "1.2.840.10008.5.1.4.1.1.1"
FILM, BAD = "1.2.3.1.1", "1.2.3.1.2"


async def prepare(ward: Ward) -> p.Device:
    """A second film in study 1, and a device that may reject."""
    bad = attributes(1, sop_instance_uid=BAD, patient_id=FIRST, patient_name="Muster^Erika")
    await ward.house.store(ward.cr, bad, b"blurred " * 99)
    return await ward.house.device("qc", "QC", ["store", "query", "retrieve", "reject"])


async def note(
    ward: Ward,
    device: p.Device,
    code: str = "113037",
    number: int = 1,
    uids: tuple[str, ...] = (BAD,),
    study: str = "1.2.3.1",
    sop_class: str = CR,
) -> p.Committed | p.AlreadyHeld:
    """What a front does with a rejection note."""
    said = attributes(
        1,
        sop_class_uid=KOS,
        sop_instance_uid=f"1.2.3.1.7.{number}",
        series_instance_uid="1.2.3.1.7",
        modality="KO",
        patient_id=FIRST,
        patient_name="Muster^Erika",
    )
    rejected = [p.RejectedInstance(study, sop_class, uid) for uid in uids]
    return await ward.house.store(
        device,
        said,
        b"note %d" % number,
        rejection=p.RejectionNote(code, rejected),  # type: ignore[arg-type]
    )


async def found(ward: Ward, device: p.Device) -> list[str]:
    """SOP Instance UIDs of study 1 that a query answers."""
    ask = p.Query(
        principal=device, channel="dimse", level="instance", filters={"StudyInstanceUID": "1.2.3.1"}
    )
    records = (await ward.house.front.call(ask, p.QueryAnswer)).records
    return sorted(str(each.attributes["SOPInstanceUID"]) for each in records)


async def retrieved(ward: Ward, device: p.Device, **more: str) -> list[str]:
    ask = p.Disclose(device, "dimse", "1.2.3.1", **more)  # type: ignore[arg-type]
    return sorted(each.sop_instance_uid for each in (await ward.house.front.call(ask, p.Disclosed)).instances)


async def counts(ward: Ward, device: p.Device) -> tuple[object, object, object]:
    ask = p.Query(principal=device, channel="dimse", level="study", filters={"StudyInstanceUID": "1.2.3.1"})
    (record,) = (await ward.house.front.call(ask, p.QueryAnswer)).records
    keys = "NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries", "ModalitiesInStudy"
    return tuple(record.attributes[key] for key in keys)  # type: ignore[return-value]


@pytest.mark.parametrize("code", ["113001", "113037", "113038", "113039"])
def test_what_is_rejected_is_neither_found_nor_disclosed(tmp_path: Path, code: str) -> None:
    async def work(ward: Ward) -> None:
        qc, ws = await prepare(ward), ward.ws["first"]
        assert await found(ward, ws) == await retrieved(ward, ws) == [FILM, BAD]
        assert isinstance(await note(ward, qc, code), p.Committed)
        assert await found(ward, ws) == await retrieved(ward, ws) == [FILM]
        assert await counts(ward, ws) == (1, 1, ["CR"])
        assert await reason(retrieved(ward, ws, sop_instance_uid=BAD)) == "not_found"
        assert await ward.house.verify() == [], "everything is still there and proven"

    in_ward(tmp_path, work)


def test_rejected_for_quality_is_still_seen_by_who_may_reject(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        qc = await prepare(ward)
        await ward.grant("device:qc", f"patient:{FIRST}")
        await note(ward, qc, "113001", 1, (BAD,))
        assert await retrieved(ward, qc) == [FILM, BAD, "1.2.3.1.7.1"]
        await note(ward, qc, "113037", 2, (BAD,))
        assert await retrieved(ward, qc) == [FILM, "1.2.3.1.7.1"]

    in_ward(tmp_path, work)


def test_a_study_of_which_everything_was_rejected_is_not_found(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        qc, ws = await prepare(ward), ward.ws["first"]
        await note(ward, qc, uids=(FILM, BAD))
        assert "1.2.3.1" not in [uid for uid, *_ in await ward.sees("first")]
        assert await reason(retrieved(ward, ws)) == "not_found"

    in_ward(tmp_path, work)


def test_a_device_without_the_right_hides_nothing_and_somebody_hears_of_it(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await prepare(ward)
        assert await reason(note(ward, ward.cr)) == "not_permitted"
        assert await retrieved(ward, ward.ws["first"]) == [FILM, BAD]
        alarms = (await ward.house.admin.call(p.GetAlarms(), p.Alarms)).items
        assert [each.kind for each in alarms] == ["rejection-refused"]
        page = await ward.house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
        assert any('"rejection-refused"' in body for _, body in page.entries)

    in_ward(tmp_path, work)


def test_a_note_that_names_what_it_may_not_hides_nothing(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        qc = await prepare(ward)
        assert await reason(note(ward, qc, uids=("1.2.3.2.1",))) == "conflict", "another study's instance"
        assert await reason(note(ward, qc, uids=("1.2.3.2.1",), study="1.2.3.2")) == "conflict"
        assert await reason(note(ward, qc, uids=(BAD, "1.2.3.1.99"))) == "conflict", "unknown"
        assert await reason(note(ward, qc, sop_class="1.2.840.10008.5.1.4.1.1.2")) == "conflict"
        await note(ward, qc, number=5)
        assert await reason(note(ward, qc, number=6, uids=("1.2.3.1.7.5",), sop_class=KOS)) == "conflict"
        assert await retrieved(ward, ward.ws["first"]) == [FILM]

    in_ward(tmp_path, work)


def test_an_hour_of_one_device_has_a_limit(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        qc = await prepare(ward)
        for number in range(ward.house.server._core.limits.rejections_per_hour):
            await note(ward, qc, number=number)
        assert await reason(note(ward, qc, number=999, uids=(FILM,))) == "throttled"
        assert await retrieved(ward, ward.ws["first"]) == [FILM]

    in_ward(tmp_path, work)


def test_a_rejection_is_undone_and_stays_so_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()

    async def first(ward: Ward) -> None:
        house, qc = ward.house, await prepare(ward)
        await note(ward, qc, number=1)
        await note(ward, qc, number=2, uids=(FILM,))
        items = (await house.admin.call(p.RejectionPage(), p.RejectionItems)).items
        assert [(each.number, each.instances, each.state) for each in items] == [
            (1, 1, "standing"),
            (2, 1, "standing"),
        ]
        ward.later()
        undo = p.UndoRejection(1, ward.first.approves())
        assert (await house.admin.call(undo, p.RejectionItem)).state == "undone"
        ward.later()
        again = p.UndoRejection(1, ward.first.approves())
        assert await reason(house.admin.call(again, p.RejectionItem)) == "conflict"
        assert await retrieved(ward, ward.ws["first"]) == [BAD]

    async def after() -> None:
        async with running(tmp_path / "home", clock=clock) as house:
            ward = Ward(house, clock)
            ws = p.Device(fingerprint(tmp_path / "home", "ws-first"), "WSFIRST", "127.0.0.1")
            assert await retrieved(ward, ws) == [BAD]
            assert await house.verify() == []

    in_ward(tmp_path, first, clock)
    asyncio.run(after())


def test_what_was_rejected_is_held_when_it_is_sent_again_and_stays_hidden(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        qc = await prepare(ward)
        await note(ward, qc)
        bad = attributes(1, sop_instance_uid=BAD, patient_id=FIRST, patient_name="Muster^Erika")
        assert isinstance(await ward.house.store(ward.cr, bad, b"blurred " * 99), p.AlreadyHeld)
        assert isinstance(await note(ward, qc), p.AlreadyHeld)
        assert await retrieved(ward, ward.ws["first"]) == [FILM]

    in_ward(tmp_path, work)


def test_a_viewing_that_is_open_does_not_go_on_with_what_was_rejected(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        qc, ws = await prepare(ward), ward.ws["first"]
        opened = await ward.house.front.call(p.Disclose(ws, "dimse", "1.2.3.1"), p.Disclosed)
        await note(ward, qc)
        check = p.CheckDisclosure(opened.receipt, ws)
        assert not (await ward.house.front.call(check, p.DisclosureChecked)).current

    in_ward(tmp_path, work)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE rejected SET code = '113001'", "table rejected"),
        ("DELETE FROM rejected WHERE id <> note_id", "rejection 1"),
    ],
)
def test_rows_of_a_rejection_changed_in_the_database_are_named(
    tmp_path: Path, statement: str, named: str
) -> None:
    clock = Clock()

    async def first(ward: Ward) -> None:
        await note(ward, await prepare(ward))

    async def after() -> None:
        async with running(tmp_path / "home", clock=clock) as house:
            assert {each.where.split(",")[0] for each in await house.verify()} == {named}

    in_ward(tmp_path, first, clock)
    assert edit(tmp_path / "home", statement)
    asyncio.run(after())
