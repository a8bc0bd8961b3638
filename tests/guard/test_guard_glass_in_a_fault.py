"""Break-glass while log, ledger, clock or witness cannot answer: journalled, and handed over once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.test_guard_break_glass import STUDY, Night, refused
from guard.test_guard_clock import Settable, until
from helpers.failing_statements import fail_statements
from helpers.guard_house import attributes, new_house, running
from ribcage.guard import protocol as p
from ribcage.guard.emergency import RECORDS, SLOT_BYTES, EmergencyJournal
from ribcage.guard.emergency_records import ClosingRecord, encode
from ribcage.guard.errors import GuardUnavailable
from ribcage.guard.limits import GuardLimits
from ribcage.ledger import calls
from ribcage.ledger.errors import LedgerUnavailable

QUICK = GuardLimits(checkpoint_seconds=0.05)
HOUR = 3600.0
Breaks = Callable[[Night], Callable[[], None]]


def no_commit(night: Night) -> Callable[[], None]:
    """No transaction of the database is durable from now on, until the answer is called."""
    # a commit in doubt would end the guard: this one is a plain no
    return fail_statements(night.house.server._core.engine, "COMMIT", "SQLITE_IOERR_WRITE")


def no_ledger(night: Night) -> Callable[[], None]:
    """The contract does not answer."""
    ledger = night.house.server._core.ledger

    def fails(*_: object) -> None:
        raise LedgerUnavailable("planted")

    ledger.check = fails
    return lambda: vars(ledger).pop("check")


def silent_witness(night: Night) -> Callable[[], None]:
    """A trusted witness has not answered since the start."""
    witness = night.house.server._core.witness
    witness._started = False
    return lambda: setattr(witness, "_started", True)


def stepped_clock(night: Night) -> Callable[[], None]:
    night.clock.step = 30 * HOUR
    return lambda: setattr(night.clock, "step", 0.0)


def play(folder: Path, story: Callable[[Night], object]) -> None:
    async def run() -> None:
        clock = Settable()
        async with new_house(folder, QUICK, clock) as house:
            night = Night(house, clock)
            await night.fall()
            await story(night)

    asyncio.run(run())


def later(night: Night) -> str:
    """A code of the next half minute: the last one was used for the step-up."""
    night.clock.ahead += 30
    return night.code()


async def handed_over(night: Night) -> None:
    await until(lambda: not night.house.server._core.emergency.pending)


def kinds(log: str) -> list[str]:
    wanted = ("break-glass", "disclosure-allowed", "disclosure-closed")
    return [kind for line in log.splitlines() for kind in wanted if f'"code":"{kind}"' in line]


@pytest.mark.parametrize("fault", [no_commit, no_ledger, silent_witness, stepped_clock])
def test_in_a_fault_ordinary_access_is_refused_and_broken_glass_opens(tmp_path: Path, fault: Breaks) -> None:
    async def story(night: Night) -> None:
        await night.house.admin.call(p.AddGrant("person:li", f"study:{STUDY}", "full"), p.GrantAdded)
        mend = fault(night)
        assert await refused(night.discloses()) == "unavailable"
        if fault is stepped_clock:
            broken = await night.breaks(study_instance_uid=STUDY, note="Ärztin")
        else:
            assert await refused(night.breaks()) == "second_factor_needed"
            broken = await night.breaks(study_instance_uid=STUDY, note="Ärztin", code=later(night))
        told = await night.discloses()
        assert (told.view, told.purpose) == ("full", "ETREAT")
        assert (told.log_index == -1) is (told.promise == b"") is (fault is no_commit)
        objects = [each.object_id for each in told.instances]
        assert (await night.house.front.call(p.Open(told.receipt, night.session, objects), p.Opened)).objects
        await night.house.front.call(p.DisclosureClosed(told.receipt, 1, 5000, "complete"), p.Noted)
        if fault in (no_commit, stepped_clock):  # in the others records are handed over at once
            assert broken.number == -1
            assert await night.alarms() == [
                ("break-glass-in-a-fault", -1),
            ]
        mend()
        await handed_over(night)
        assert (await night.alarms())[-1] == ("break-glass-in-a-fault", 1)
        log = await night.log()
        assert sorted(kinds(log)) == ["break-glass", "disclosure-allowed", "disclosure-closed"]
        assert '"type":"emergency","valueString":"yes"' in log
        assert "rztin" not in log
        (item,) = (await night.house.admin.call(p.BreakGlassPage(), p.BreakGlassItems)).items
        assert (item.number, item.emergency) == (1, True)
        assert await night.house.verify() == []

    play(tmp_path, story)


@pytest.mark.parametrize("fault", [no_commit, no_ledger, silent_witness, stepped_clock])
def test_in_a_fault_a_list_holds_what_the_broken_glass_opens_and_is_never_empty(
    tmp_path: Path, fault: Breaks
) -> None:
    async def story(night: Night) -> None:
        device = await night.house.device("cr-2", "CR2", ["store"])
        await night.house.store(device, attributes(2), bytes(100))
        await night.house.admin.call(p.AddGrant("person:li", "study:1.2.3.2", "full"), p.GrantAdded)

        async def listed(**filters: str) -> list[object]:
            asked = p.Query(night.session, "dicomweb", "study", filters)
            answer = await night.house.front.call(asked, p.QueryAnswer)
            return [each.attributes["StudyInstanceUID"] for each in answer.records]

        mend = fault(night)
        assert await refused(listed()) == "unavailable"
        await night.breaks(patient="PID000001", code="" if fault is stepped_clock else later(night))
        if fault is no_commit:  # the contract still answers, but nothing may be listed under a grant
            assert await refused(listed()) == "unavailable"
            assert await listed(PatientID="PID000001") == [STUDY]
        else:
            assert await listed() == [STUDY]
        assert await refused(listed(PatientID="PID000002")) == "unavailable"
        mend()
        await handed_over(night)
        log = await night.log()
        assert log.count('"code":"query-answered"') == 1
        assert await night.house.verify() == []

    play(tmp_path, story)


@pytest.mark.parametrize("fault", [no_commit, silent_witness])
def test_in_a_fault_a_code_works_once(tmp_path: Path, fault: Breaks) -> None:
    async def story(night: Night) -> None:
        device = await night.house.device("cr-2", "CR2", ["store"])
        await night.house.store(device, attributes(2), bytes(100))
        mend = fault(night)
        code = later(night)
        await night.breaks(study_instance_uid=STUDY, code=code)
        assert await refused(night.breaks(study_instance_uid="1.2.3.2", code=code)) == "second_factor_needed"
        assert (
            await refused(night.breaks(study_instance_uid="1.2.3.2", code="000000")) == "second_factor_needed"
        )
        mend()
        await handed_over(night)
        assert await refused(night.house.front.ask(p.StepUp(night.session, code))) == "not_authenticated"

    play(tmp_path, story)


def test_guessing_codes_in_a_fault_is_throttled(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        no_commit(night)
        for number in range(5):
            guess = night.breaks(study_instance_uid=STUDY, code=f"00000{number}")
            assert await refused(guess) == "second_factor_needed"
        assert await refused(night.breaks(study_instance_uid=STUDY, code=later(night))) == "throttled"

    with pytest.raises(GuardUnavailable):  # the entry of the stop is not durable either
        play(tmp_path, story)


def test_while_the_clock_is_stepped_a_factor_that_was_stale_before_counts_for_nothing(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        night.clock.ahead += 16 * 60
        await asyncio.to_thread(night.house.server._core.clock_watch.look)
        stepped_clock(night)
        assert await refused(night.breaks()) == "second_factor_needed"
        assert (
            await refused(night.breaks(study_instance_uid=STUDY, code=night.code())) == "second_factor_needed"
        )

    play(tmp_path, story)


@pytest.mark.parametrize("what", ["ledger", "witness"])
def test_a_state_that_is_proven_false_opens_for_nobody(tmp_path: Path, what: str) -> None:
    async def story(night: Night) -> None:
        await night.breaks()
        core = night.house.server._core
        if what == "ledger":
            core.ledger_behind = True
        else:
            core.witness.fell_behind("planted")
        assert await refused(night.discloses()) == "unavailable"
        assert await refused(night.breaks(patient="PID000001", code=later(night))) == "unavailable"
        core.ledger_behind = False

    play(tmp_path, story)


def test_in_a_fault_suspension_legal_block_and_role_hold(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.breaks()
        core = night.house.server._core
        resource = next(iter(core.permits.unreviewed())).resource
        core.ledger.apply(core.ledger.prepare(calls.legal_block(resource), core.clock()))
        mend = no_ledger(night)
        assert await refused(night.discloses()) == "not_permitted"
        await night.enter("wu", "clinician")
        blocked = night.breaks(study_instance_uid=STUDY, code=later(night))
        assert await refused(blocked) == "not_permitted"
        await night.enter("fu", "technologist")
        assert await refused(night.breaks(study_instance_uid=STUDY, code=later(night))) == "not_permitted"
        mend()
        await night.house.admin.call(p.SuspendPerson("wu", True), p.Noted)
        no_ledger(night)
        assert await refused(night.breaks(study_instance_uid=STUDY, code="000000")) == "not_permitted"

    play(tmp_path, story)


def test_with_the_reserve_gone_the_answer_is_no(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        mend = no_commit(night)
        journal = night.house.server._core.emergency
        await night.breaks(study_instance_uid=STUDY, code=later(night))
        old = ClosingRecord(night.clock(), bytes(16), "", bytes(16), bytes(16), bytes(16), 1, 9, "cut")
        while journal.room > 2:
            journal.append(encode(old))
        told = await night.discloses()
        assert journal.room == 1
        assert await refused(night.discloses()) == "unavailable"  # the last slot is for the closing
        more = night.breaks(patient="PID000001", code=later(night))
        assert await refused(more) == "unavailable"
        await night.house.front.call(p.DisclosureClosed(told.receipt, 0, 0, "aborted"), p.Noted)
        assert journal.room == 0
        mend()
        await handed_over(night)
        await until(lambda: journal.room == RECORDS)
        assert kinds(await night.log()).count("disclosure-closed") == RECORDS - 2

    play(tmp_path, story)


def test_a_journal_that_cannot_be_written_means_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(night: Night) -> None:
        mend = no_ledger(night)

        def fails(*_: object) -> int:
            raise GuardUnavailable("planted")

        monkeypatch.setattr(EmergencyJournal, "_write", fails)
        assert await refused(night.breaks(study_instance_uid=STUDY, code=later(night))) == "unavailable"
        assert await refused(night.discloses()) == "unavailable"
        mend()

    play(tmp_path, story)


@pytest.mark.parametrize(
    "killed", ["before the commit", "after the commit", "before the ledger", "after all"]
)
def test_a_record_is_handed_over_once_wherever_the_guard_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    async def run() -> None:
        clock = Settable()
        async with new_house(tmp_path, QUICK, clock) as house:
            night = Night(house, clock)
            await night.fall()
            clock.step = 30 * HOUR
            await night.breaks()
            core = house.server._core
            with monkeypatch.context() as patch:
                steps: list[int] = []

                def dies(*_: object) -> None:
                    steps.append(1)
                    raise GuardUnavailable("killed here")

                if killed == "before the commit":
                    patch.setattr(core.rows, "insert", dies)
                elif killed == "after the commit":
                    patch.setattr(core.emergency, "forget", dies)
                elif killed == "before the ledger":
                    patch.setattr(core.ledger, "apply", dies)
                else:
                    steps.append(1)
                clock.step = 0.0
                await until(lambda: bool(steps))
        clock.step = 0.0
        async with running(tmp_path / "home", QUICK, clock) as house:
            night.house = house
            await handed_over(night)
            assert kinds(await night.log()) == ["break-glass"]
            items = (await house.admin.call(p.BreakGlassPage(), p.BreakGlassItems)).items
            assert [each.number for each in items] == [1]
            assert house.server._core.ledger.break_glass_count == 1
            assert (await night.discloses()).view == "full"
            assert await house.verify() == []
            assert (await night.status()).findings == []

    asyncio.run(run())


@pytest.mark.parametrize("tamper", ["edited", "removed"])
def test_a_journal_changed_on_the_disk_is_told_at_the_next_start(tmp_path: Path, tamper: str) -> None:
    async def run() -> None:
        clock = Settable()
        async with new_house(tmp_path, QUICK, clock) as house:
            night = Night(house, clock)
            await night.fall()
            clock.step = 30 * HOUR
            await night.breaks()
            await night.breaks(patient="PID000001")
        path = tmp_path / "home" / "database" / "emergency.journal"
        content = bytearray(path.read_bytes())
        content[3 * SLOT_BYTES + 50] ^= 1  # the second record
        path.write_bytes(content)
        if tamper == "removed":
            path.unlink()
        clock.step = 0.0
        async with running(tmp_path / "home", QUICK, clock) as house:
            night.house = house
            journal = house.server._core.emergency
            await until(lambda: journal.broken_at < 0)
            assert ("emergency-journal-broken", -1) in await night.alarms()
            log = await night.log()
            assert '"code":"emergency-journal-broken"' in log
            assert kinds(log) == ["break-glass"] * (tamper == "edited")
            if tamper == "edited":
                assert any("broken-" in each for each in (await night.status()).findings)
            assert await house.verify() == []

    asyncio.run(run())
