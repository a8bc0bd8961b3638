"""Patient identity: merge, unmerge, move, split, correct: two persons, all or nothing, and back as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.guard_house import Clock, Officer, attributes, new_house, running
from helpers.refusals import reason
from helpers.ward import FIRST, SECOND, Ward, fingerprint, in_ward
from ribcage.guard import identity_changes
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardError
from ribcage.guard.keyring import Keyring

MINE = [("1.2.3.1", FIRST, "Muster^Erika"), ("1.2.3.3", FIRST, "Muster^Erika")]
OTHERS = [("1.2.3.2", SECOND, "Wang^Lei")]


def test_merged_studies_are_found_and_named_under_the_patient_who_stays(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        assert await ward.sees("first") == MINE
        assert await ward.named("first", 1) is None
        await ward.change("merge", patient=FIRST, into=SECOND)
        merged = [(uid, SECOND, "Wang^Lei") for uid in ("1.2.3.1", "1.2.3.2", "1.2.3.3")]
        assert await ward.sees("second") == merged
        assert await ward.found("second", PatientID=FIRST) == 0
        assert await ward.found("second", PatientName="Muster^Erika") == 0
        named = await ward.named("second", 1)
        assert named is not None
        assert (named.patient_id, named.patient_name) == (SECOND, "Wang^Lei")
        assert await ward.named("second", 2) is None, "nobody changed this study"
        assert await ward.house.verify() == []

    in_ward(tmp_path, work)


def test_a_merge_gives_nobody_the_other_patients_films(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await ward.change("merge", patient=FIRST, into=SECOND)
        assert [uid for uid, _, _ in await ward.sees("first")] == ["1.2.3.1", "1.2.3.3"], "as before"
        assert await reason(ward.disclose("first", 2)) == "not_permitted"

    in_ward(tmp_path, work)


def test_unmerge_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        before = await ward.state()
        number = await ward.change("merge", patient=FIRST, into=SECOND)
        assert await ward.state() != before
        await ward.change("undo", undoes=number)
        assert await ward.state() == before
        assert await ward.house.verify() == []
        await ward.change("merge", patient=FIRST, into=SECOND)
        assert len(await ward.sees("second")) == 3, "and once more"

    in_ward(tmp_path, work)


def test_what_came_under_the_merged_id_goes_back_with_it(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = await ward.change("merge", patient=FIRST, into=SECOND)
        late = attributes(4, patient_id=FIRST, patient_name="Muster^Erika")
        more = attributes(1, patient_id=FIRST, sop_instance_uid="1.2.3.1.2")
        for each, data in ((late, b"late" * 100), (more, b"more" * 100)):
            stored = await ward.house.store(ward.cr, each, data)
            assert isinstance(stored, p.Committed)
            assert not stored.parked
        assert ("1.2.3.4", SECOND, "Wang^Lei") in await ward.sees("second")
        await ward.change("undo", undoes=number)
        assert ("1.2.3.4", FIRST, "Muster^Erika") in await ward.sees("first")
        assert await ward.sees("second") == OTHERS
        assert await ward.house.verify() == []

    in_ward(tmp_path, work)


def test_one_person_alone_changes_no_identity(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = (await ward.ask("move", into=SECOND, studies=["1.2.3.1"])).number
        assert await reason(ward.approve(number, ward.first)) == "not_permitted"
        nurse = Officer("cat", await ward.house.person("cat", "clinician"), ward.clock)
        assert await reason(ward.approve(number, nurse)) == "not_permitted"
        assert await reason(ward.ask("merge", nurse, patient=FIRST, into=SECOND)) == "not_permitted"
        assert await ward.sees("first") == MINE

    in_ward(tmp_path, work)


def test_a_moved_study_leaves_the_wrong_patients_doctors_at_once(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        disclosed = await ward.disclose("first", 1)
        kept = await ward.disclose("first", 3)
        await ward.change("move", into=SECOND, studies=["1.2.3.1"])
        cut = [each for push in ward.house.pushed if isinstance(push, p.Revoked) for each in push.disclosures]
        assert disclosed.disclosure in cut
        assert kept.disclosure not in cut
        wanted = [ref.object_id for ref in disclosed.instances]
        ask = p.Open(disclosed.receipt, ward.ws["first"], wanted)
        assert await reason(ward.house.front.call(ask, p.Opened)) == "not_permitted"
        assert await reason(ward.disclose("first", 1)) == "not_permitted"
        named = await ward.named("second", 1)
        assert named is not None
        assert named.patient_id == SECOND

    in_ward(tmp_path, work)


def test_an_objection_holds_for_both_and_a_merge_does_not_lose_it(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await ward.house.admin.call(p.Object(FIRST, "*", True), p.Noted)
        assert await ward.sees("first") == []
        number = await ward.change("merge", patient=FIRST, into=SECOND)
        assert await ward.sees("second") == []
        await ward.change("undo", undoes=number)
        assert await ward.sees("second") == OTHERS
        assert await ward.sees("first") == []

    in_ward(tmp_path, work)


def test_a_study_on_its_way_to_destruction_is_merged_with_nobody(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        ask = p.AskDestruction("1.2.3.1", "wrong-patient", ward.first.approves())
        await ward.house.admin.call(ask, p.DestructionItem)
        ward.clock.ahead += 30
        assert await reason(ward.ask("merge", patient=FIRST, into=SECOND)) == "conflict"
        ward.clock.ahead += 30
        assert await reason(ward.ask("move", into=SECOND, studies=["1.2.3.1"])) == "conflict"

    in_ward(tmp_path, work)


def test_a_split_study_is_a_new_patients_and_a_correction_needs_one_person(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await ward.change("split", into="NEW1|HOSP", studies=["1.2.3.3"], patient_name="Neu^Anna")
        assert await ward.sees("first") == MINE[:1]
        await ward.grant("device:ws-second", "patient:NEW1|HOSP")
        assert ("1.2.3.3", "NEW1", "Neu^Anna") in await ward.sees("second")
        item = await ward.ask("correct", patient=FIRST, patient_name="Muster^Erika Maria", patient_sex="F")
        assert (item.state, item.studies) == ("done", 1)
        assert await ward.sees("first") == [("1.2.3.1", FIRST, "Muster^Erika Maria")]
        assert await ward.found("first", PatientName="Muster^Erika M*") == 1

    in_ward(tmp_path, work)


def test_what_a_later_change_built_on_is_undone_after_it(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        before = await ward.state()
        merge = await ward.change("merge", patient=FIRST, into=SECOND)
        correction = (await ward.ask("correct", studies=["1.2.3.1"], patient_name="Wang^Lei Lei")).number
        ward.clock.ahead += 30
        assert await reason(ward.ask("undo", undoes=merge)) == "conflict"
        await ward.change("undo", undoes=correction)
        ward.clock.ahead += 60
        await ward.change("undo", undoes=merge)
        assert await ward.state() == before

    in_ward(tmp_path, work)


def test_a_merged_patients_own_page_is_closed_until_the_merge_is_undone(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await ward.house.store(
            ward.cr, attributes(5, patient_id="PID5", patient_birth_date="19700101"), b"five" * 99
        )
        invited = await ward.house.admin.call(p.InvitePatient("PID5"), p.PatientInvited)
        number = await ward.change("merge", patient="PID5", into=SECOND)
        enter = p.EnterPatient(invited.token, "19700101", "127.0.0.1", b"browser")
        assert await reason(ward.house.front.call(enter, p.PatientState)) == "not_authenticated"
        await ward.change("undo", undoes=number)
        assert (await ward.house.front.ask(enter)) is not None

    in_ward(tmp_path, work)


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("where", ["keys", "rows", "entry"])
def test_a_merge_that_is_cut_off_did_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The guard dies before its keys moved, after, and after all rows were written: all or nothing."""
    clock = Clock()

    def die(*_: object, **__: object) -> None:
        raise Killed

    async def first() -> tuple[object, ...]:
        async with new_house(tmp_path, clock=clock) as house:
            ward = Ward(house, clock)
            await ward.fill()
            before = await ward.state()
            number = (await ward.ask("merge", patient=FIRST, into=SECOND)).number
            monkeypatch.setattr(identity_changes.IdentityChanges, "_take_back", die)
            target = {
                "keys": (Keyring, "rebind_all"),
                "rows": (identity_changes, "move_rows"),
                "entry": (identity_changes, "link_rows"),
            }[where]
            monkeypatch.setattr(*target, die)
            with pytest.raises(GuardError):
                await ward.approve(number)
            monkeypatch.undo()
            return before

    before = asyncio.run(first())

    async def again() -> None:
        async with running(tmp_path / "home", clock=clock) as house:
            ward = Ward(house, clock)
            ward.ws = {
                name: p.Device(fingerprint(tmp_path / "home", f"ws-{name}"), f"WS{name.upper()}", "127.0.0.1")
                for name in ("first", "second")
            }
            assert await ward.state() == before
            assert await house.verify() == []

    asyncio.run(again())


def test_a_conflict_is_shown_with_an_entry_and_destroyed_by_two(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        house = ward.house
        wrong = attributes(1, sop_instance_uid="1.2.3.1.9", patient_id="OTHER", patient_name="Other^One")
        right = attributes(1, sop_instance_uid="1.2.3.1.8")
        answers = [
            await house.store(ward.cr, each, data) for each, data in ((wrong, b"w" * 9), (right, b"r" * 9))
        ]
        assert {type(each) for each in answers} == {p.Committed}
        (item,) = (await house.admin.call(p.ParkedPage(0, 10), p.ParkedItems)).items
        shown = await house.admin.call(p.ShowConflict(item.ordinal, ward.first.approves()), p.ConflictShown)
        assert (shown.reason, shown.attributes.patient_name) == ("patient_mismatch", "Other^One")
        page = await house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
        assert any('"conflict-resolved"' in body and '"shown"' in body for _, body in page.entries)
        assert not any("Other^One" in body for _, body in page.entries)
        ward.clock.ahead += 60
        alone = p.DiscardConflict(item.ordinal, ward.first.approves(), ward.first.approves())
        assert await reason(house.admin.call(alone, p.Noted)) == "not_permitted"
        ward.clock.ahead += 60
        two = p.DiscardConflict(item.ordinal, ward.first.approves(), ward.second.approves())
        files = len(list((house.home / "objects").rglob("*.rbc")))
        await house.admin.call(two, p.Noted)
        assert len(list((house.home / "objects").rglob("*.rbc"))) == files - 1
        assert (await house.admin.call(p.ParkedPage(0, 10), p.ParkedItems)).items == []
        assert await house.verify() == []

    in_ward(tmp_path, work)
