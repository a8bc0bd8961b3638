"""Break-glass: who may, what prevails over it, how long, how often, and who judges it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyotp
import pytest

from helpers.guard_house import Clock, House, Officer, attributes, edit, new_house, running
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits
from ribcage.ledger import calls

STUDY = "1.2.3.1"


async def refused(coroutine: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await coroutine
    return caught.value.reason


class Night:
    """A film, and a doctor without a grant whose second factor is fresh."""

    def __init__(self, house: House, clock: Clock) -> None:
        self.house, self.clock = house, clock
        self.code: Callable[[], str] = lambda: ""
        self.session = p.Session(b"", "")
        self.password = ""

    async def fall(self, name: str = "li", *roles: str, step_up: bool = True) -> None:
        if not roles:
            device = await self.house.device("cr-1", "CR1", ["store"])
            await self.house.store(device, attributes(1), bytes(5000))
        await self.enter(name, *(roles or ("clinician",)), step_up=step_up)

    async def enter(self, name: str, *roles: str, step_up: bool = True) -> None:
        added = await self.house.person(name, *roles)
        self.password = added.password
        self.session = await self.house.session(name, added.password)
        totp = pyotp.parse_uri(added.totp_uri)
        self.code = lambda: totp.at(int(self.clock()))
        if step_up:
            await self.house.front.call(p.StepUp(self.session, self.code()), p.Person)

    async def enter_again(self) -> None:
        """Another session of the same person."""
        self.session = await self.house.session("li", self.password)
        await self.house.front.call(p.StepUp(self.session, self.code()), p.Person)

    def breaks(self, reason: str = "emergency", **more: str) -> Awaitable[p.GlassBroken]:
        more = more or {"study_instance_uid": STUDY}
        return self.house.front.call(p.BreakGlass(self.session, reason, **more), p.GlassBroken)

    def discloses(self, want: str = "best", purpose: str = "TREAT") -> Awaitable[p.Disclosed]:
        asked = p.Disclose(self.session, "dicomweb", STUDY, want=want, purpose=purpose)
        return self.house.front.call(asked, p.Disclosed)

    async def log(self) -> str:
        page = await self.house.admin.call(p.AuditPage(0, 1000), p.AuditEntries)
        return "\n".join(body for _, body in page.entries)

    async def alarms(self) -> list[tuple[str, int]]:
        answer = await self.house.admin.call(p.GetAlarms(), p.Alarms)
        return [(each.kind, each.number) for each in answer.items]

    async def status(self) -> p.Status:
        return await self.house.admin.call(p.GetStatus(), p.Status)


Story = Callable[[Night], Awaitable[None]]


def play(folder: Path, story: Story, limits: GuardLimits | None = None) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, limits, clock) as house:
            await story(Night(house, clock))

    asyncio.run(run())


def test_a_doctor_without_a_grant_breaks_the_glass_and_sees_the_film_for_a_while(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        heard: list[p.Alarm] = []
        night.house.server._core.alarms.listen(heard.append)
        assert await refused(night.discloses()) == "not_permitted"
        broken = await night.breaks(study_instance_uid=STUDY, note="bewusstlos, 昏迷")
        assert broken.number == 1
        assert [(each.kind, each.number) for each in heard] == [("break-glass", 1)]
        assert await night.alarms() == [("break-glass", 1)]
        told = await night.discloses()
        assert (told.view, told.purpose) == ("full", "ETREAT")
        opened = p.Open(told.receipt, night.session, [told.instances[0].object_id])
        await night.house.front.call(opened, p.Opened)
        log = await night.log()
        assert '"code":"110127"' in log
        assert '"valueString":"break_glass"' in log
        assert "bewusstlos" not in log
        assert "昏迷" not in log
        assert await refused(night.discloses(want="original")) == "not_permitted"
        assert await refused(night.discloses(purpose="HRESCH")) == "not_permitted"
        assert (await night.breaks()).number == 1  # still the same access
        night.clock.ahead += 4 * 3600 + 1
        await night.house.front.call(p.StepUp(night.session, night.code()), p.Person)
        assert await refused(night.discloses()) == "not_permitted"
        assert (await night.breaks()).number == 2
        assert await night.house.verify() == []

    play(tmp_path, story)


def test_a_patient_is_opened_with_every_study(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        assert (await night.breaks(patient="PID000001")).number == 1
        assert (await night.discloses()).view == "full"
        assert await refused(night.breaks(patient="PID000002")) == "not_permitted"
        assert await refused(night.breaks(patient="UNKNOWN")) == "not_permitted"
        assert await refused(night.breaks(patient="PID000001", study_instance_uid=STUDY)) == "invalid"
        assert await refused(night.breaks(study_instance_uid=STUDY, note="x" * 201)) == "invalid"
        assert await refused(night.breaks(study_instance_uid=STUDY, note="𠮷" * 200)) == "invalid"
        (item,) = (await night.house.admin.call(p.BreakGlassPage(), p.BreakGlassItems)).items
        assert (item.scope, item.username, item.reason) == ("patient", "li", "emergency")

    play(tmp_path, story)


def test_without_a_fresh_second_factor_the_glass_holds(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall(step_up=False)
        assert await refused(night.breaks()) == "second_factor_needed"
        code = night.code()
        assert (await night.breaks(study_instance_uid=STUDY, code=code)).number == 1
        night.clock.ahead += 16 * 60
        assert (await night.discloses()).view == "masked"  # the factor is stale again
        assert await refused(night.breaks(study_instance_uid=STUDY, code=code)) == "not_authenticated"

    play(tmp_path, story)


@pytest.mark.parametrize("role", ["technologist", "officer", "administrator"])
def test_a_role_that_treats_nobody_breaks_no_glass(tmp_path: Path, role: str) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        await night.enter("wu", role)
        assert await refused(night.breaks()) == "not_permitted"
        assert "role-treats-nobody" in await night.log()
        assert await night.alarms() == [("break-glass-refused", -1)]

    play(tmp_path, story)


def test_an_objection_gives_way_to_broken_glass_and_to_nothing_else(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        await night.house.admin.call(p.AddGrant("person:li", f"study:{STUDY}", "full"), p.GrantAdded)
        await night.house.admin.call(p.Object("PID000001", "*", True), p.Noted)
        assert await refused(night.discloses()) == "not_permitted"
        await night.breaks()
        assert (await night.discloses()).view == "full"
        assert await night.alarms() == [("break-glass", 1)]

    play(tmp_path, story)


def test_a_suspended_person_breaks_no_glass_and_loses_what_was_open(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        await night.breaks()
        told = await night.discloses()
        await night.house.admin.call(p.SuspendPerson("li", True), p.Noted)
        assert await refused(night.breaks()) == "not_authenticated"
        assert await refused(night.discloses()) == "not_authenticated"
        cut = [each for m in night.house.pushed if isinstance(m, p.Revoked) for each in m.disclosures]
        assert told.disclosure in cut

    play(tmp_path, story)


def test_a_legal_block_stands_against_broken_glass(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        await night.breaks()
        await night.discloses()
        await block(night)
        assert await refused(night.discloses()) == "not_permitted"
        night.clock.ahead += 5 * 3600
        await night.house.front.call(p.StepUp(night.session, night.code()), p.Person)
        assert await refused(night.breaks()) == "not_permitted"
        assert "legal-block" in await night.log()

    play(tmp_path, story)


async def block(night: Night) -> None:
    """A court forbids it: there is no verb for that yet."""
    core = night.house.server._core
    resource = next(iter(core.permits.unreviewed())).resource
    prepared = core.ledger.prepare(calls.legal_block(resource), core.clock())
    core.ledger.apply(prepared)


def test_the_sixth_in_a_day_is_refused_with_an_alarm(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        device = await night.house.device("cr-2", "CR2", ["store"])
        for number in range(2, 8):
            await night.house.store(device, attributes(number), bytes(100))
        for number in range(1, 6):
            await night.breaks(study_instance_uid=f"1.2.3.{number}")
        assert await refused(night.breaks(study_instance_uid="1.2.3.6")) == "too_many"
        assert (await night.alarms())[-1] == ("break-glass-too-many", -1)
        await night.breaks(study_instance_uid="1.2.3.5")  # what is open stays open
        night.clock.ahead += 25 * 3600
        await night.enter_again()
        await night.breaks(study_instance_uid="1.2.3.6")

    play(tmp_path, story)


def test_searching_by_breaking_glass_is_throttled(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        for number in range(5):
            assert await refused(night.breaks(study_instance_uid=f"1.2.9.{number}")) == "not_permitted"
        assert await refused(night.breaks()) == "throttled"

    play(tmp_path, story)


def test_another_officer_judges_it_once(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        both = await night.house.person("mei", "clinician", "officer")
        fu = await night.house.person("fu", "officer")
        li, mei, officer = (
            Officer("li", p.PersonAdded(b"", night.password, fu.totp_uri), night.clock),
            Officer("mei", both, night.clock),
            Officer("fu", fu, night.clock),
        )
        night.session = await night.house.session("mei", both.password)
        code = mei.approves().code
        await night.breaks(study_instance_uid=STUDY, code=code)

        def review(by: Officer) -> Awaitable[p.BreakGlassItem]:
            return night.house.admin.call(
                p.ReviewBreakGlass(1, "unjustified", by.approves()), p.BreakGlassItem
            )

        assert await refused(review(mei)) == "not_permitted"
        assert await refused(review(li)) == "not_authenticated"
        night.clock.ahead += 73 * 3600
        assert any("unreviewed for 72 h" in each for each in (await night.status()).findings)
        assert (await review(officer)).verdict == "unjustified"
        assert (await night.status()).findings == []
        assert await night.alarms() == []
        assert await refused(review(officer)) == "conflict"
        assert '"valueString":"unjustified"' in await night.log()

    play(tmp_path, story)


def test_what_it_was_about_is_shown_to_an_officer_alone_and_that_is_an_entry(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        await night.breaks(study_instance_uid=STUDY, note="nachts, 夜间")
        await night.breaks(patient="PID000001")
        added = [
            await night.house.person(name, role) for name, role in (("fu", "officer"), ("wu", "clinician"))
        ]
        fu, wu = Officer("fu", added[0], night.clock), Officer("wu", added[1], night.clock)

        async def shown(number: int, by: Officer) -> tuple[list[str], str]:
            asked = p.ShowBreakGlass(number, by.approves())
            answer = await night.house.admin.call(asked, p.BreakGlassShown)
            return answer.studies, answer.note

        assert await refused(shown(1, wu)) == "not_permitted"
        assert await shown(1, fu) == ([STUDY], "nachts, 夜间")
        assert await shown(2, fu) == ([STUDY], "")
        log = await night.log()
        assert log.count('"valueString":"shown"') == 2
        assert "夜间" not in log

    play(tmp_path, story)


def test_ending_it_cuts_what_runs(tmp_path: Path) -> None:
    async def story(night: Night) -> None:
        await night.fall()
        await night.breaks()
        told = await night.discloses()
        await night.house.admin.call(p.EndBreakGlass(1), p.BreakGlassItem)
        cut = [each for m in night.house.pushed if isinstance(m, p.Revoked) for each in m.disclosures]
        assert told.disclosure in cut
        assert await refused(night.discloses()) == "not_permitted"
        assert await refused(night.house.admin.ask(p.EndBreakGlass(1))) == "conflict"
        assert await refused(night.house.admin.ask(p.EndBreakGlass(9))) == "not_found"
        assert await night.house.verify() == []

    play(tmp_path, story)


def test_a_restart_keeps_permits_and_a_row_that_was_edited_or_removed_opens_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(tmp_path, clock=clock) as house:
            night = Night(house, clock)
            await night.fall()
            await night.breaks()
        home = tmp_path / "home"
        async with running(home, clock=clock) as house:
            night.house = house
            assert (await night.discloses()).view == "full"
            assert await night.alarms() == [("break-glass", 1)]
        edit(home, "UPDATE break_glass SET valid_until = valid_until + 1e6")
        async with running(home, clock=clock) as house:
            night.house = house
            assert await refused(night.discloses()) == "not_permitted"
            assert any("break-glass 1" in each for each in (await night.status()).findings)
            assert any("break_glass" in each.where for each in await house.verify())
        edit(home, "DELETE FROM break_glass")
        async with running(home, clock=clock) as house:
            night.house = house
            assert any("the ledger has 1 break-glass" in each for each in (await night.status()).findings)

    asyncio.run(run())
