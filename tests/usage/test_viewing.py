"""Shared viewings on a real guard: who joins, what ends them, and what the log says afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest

from helpers.front_house import EXPLICIT_LE, ct_slice
from helpers.guard_house import Clock, House, new_home, running
from ribcage.capture.admit import WayIn, admit_instance
from ribcage.capture.disarm import Expected
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.storage.objects import ObjectStore
from ribcage.usage.disclose import WayOut
from ribcage.usage.errors import (
    DisclosureCut,
    NotAuthenticated,
    NotPermitted,
    SecondFactorNeeded,
    Throttled,
)
from ribcage.usage.viewing import Viewings

STUDY = "1.2.826.0.1.3680043.10.2.1"


@dataclass
class Front:
    """What a front has: the guard, both doors, the viewings; and a doctor with a grant and a session."""

    house: House
    guard: GuardClient
    way: WayOut
    viewings: Viewings
    clock: Clock
    modality: p.Device
    grant: int
    doctor: p.Session
    totp: pyotp.TOTP

    async def store(self, number: int) -> None:
        _, data = ct_slice(number, 32)
        way = WayIn(self.guard, self.way.objects)
        await admit_instance(way, self.modality, "dimse", "RIBCAGE", data, EXPLICIT_LE, Expected())

    async def step_up(self) -> None:
        code = self.totp.at(int(self.clock()))
        await self.guard.call(p.StepUp(self.doctor, code), p.Person)

    async def look(self, who: p.Session | None = None, want: str = "best") -> tuple[bytes, str]:
        """One request: reads a header. The disclosure's id and the view."""
        async with self.viewings.join(who or self.doctor, STUDY, want) as viewing:
            stream = await viewing.stream(viewing.disclosure.instances[0])
            viewing.disclosure.count(stream.ref.object_id, len(stream.header))
            return viewing.disclosure.answer.disclosure, viewing.disclosure.view

    async def entries(self, kind: str) -> list[str]:
        page = await self.house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
        return [text for _, text in page.entries if f'"{kind}"' in text]


@contextlib.asynccontextmanager
async def front_of(folder: Path, idle_seconds: float = 30.0, most: int = 8) -> AsyncIterator[Front]:
    home, clock = new_home(folder), Clock()
    async with running(home, clock=clock) as house:
        ways: list[WayOut] = []
        guard = await GuardClient.connect(
            home / "run" / "guard.sock", lambda message: ways[0].on_push(message)
        )
        way = WayOut(guard, ObjectStore(home / "objects"), clock)
        ways.append(way)
        viewings = Viewings(lambda: way, idle_seconds, most)
        modality = await house.device("ct1", "CT1", ["store"])
        added = await house.person("li", "clinician")
        front = Front(
            house, guard, way, viewings, clock, modality, 0, await house.session("li", added.password),
            pyotp.parse_uri(added.totp_uri),
        )  # fmt: skip
        await front.store(1)
        grant = p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full")
        front.grant = (await house.admin.call(grant, p.GrantAdded)).grant_id
        yield front
        await viewings.close()
        await guard.close()


def run(folder: Path, work: Callable[[Front], object], **more: float) -> None:
    async def main() -> None:
        async with front_of(folder, **more) as front:
            await work(front)  # type: ignore[misc]

    asyncio.run(main())


def test_requests_of_one_session_share_one_disclosure_with_exact_counts(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        await front.step_up()
        seen = await asyncio.gather(*(front.look() for _ in range(12)))
        seen.append(await front.look())
        assert len(set(seen)) == 1
        async with front.viewings.join(front.doctor, STUDY) as viewing:
            header = len((await viewing.stream(viewing.disclosure.instances[0])).header)
        assert len(await front.entries("disclosure-allowed")) == 1
        assert await front.entries("disclosure-closed") == []
        await front.viewings.close()
        (closed,) = await front.entries("disclosure-closed")
        assert f'"{13 * header}"' in closed or f":{13 * header}" in closed
        assert "complete" in closed

    run(tmp_path, work)


def test_an_idle_viewing_is_closed_and_the_next_request_opens_another(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        first, _ = await front.look()
        while front.viewings._closing or front.viewings._live:
            await asyncio.sleep(0)
        assert len(await front.entries("disclosure-closed")) == 1
        assert (await front.look())[0] != first

    run(tmp_path, work, idle_seconds=0.05)


def test_revocation_cuts_a_viewing_that_nobody_uses_and_the_next_request_is_refused(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        await front.look()
        await front.house.admin.call(p.RevokeGrant(front.grant), p.Noted)
        with pytest.raises(NotPermitted):
            await front.look()
        assert len(await front.entries("disclosure-refused")) == 1
        await front.viewings.close()
        assert len(await front.entries("disclosure-closed")) == 1

    run(tmp_path, work)


def test_revocation_is_noticed_at_the_join_even_where_its_push_was_lost(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        await front.look()
        front.way.on_push = lambda message: None
        await front.house.admin.call(p.RevokeGrant(front.grant), p.Noted)
        with pytest.raises(NotPermitted):
            await front.look()

    run(tmp_path, work)


def test_a_request_inside_is_cut_within_a_second_of_the_revocation(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        async with front.viewings.join(front.doctor, STUDY) as viewing:
            stream = await viewing.stream(viewing.disclosure.instances[0])
            await front.house.admin.call(p.RevokeGrant(front.grant), p.Noted)
            async with asyncio.timeout(1):
                while viewing.disclosure.alive:
                    await asyncio.sleep(0)
            with pytest.raises(DisclosureCut):
                viewing.disclosure.count(stream.ref.object_id, 1)
        await front.viewings.close()
        (closed,) = await front.entries("disclosure-closed")
        assert "cut" in closed

    run(tmp_path, work)


@pytest.mark.parametrize("how", ["log_out", "suspend"])
def test_a_session_that_ended_joins_nothing(tmp_path: Path, how: str) -> None:
    async def work(front: Front) -> None:
        await front.look()
        if how == "log_out":
            await front.guard.call(p.LogOut(front.doctor), p.Noted)
        else:
            await front.house.admin.call(p.SuspendPerson(username="li", suspended=True), p.Noted)
        with pytest.raises(NotAuthenticated):
            await front.look()

    run(tmp_path, work)


def test_another_persons_cookie_and_another_address_never_join(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        first, _ = await front.look()
        added = await front.house.person("wu", "clinician")
        wu = await front.house.session("wu", added.password)
        with pytest.raises(NotPermitted):
            await front.look(wu)
        grant = p.AddGrant(subject="person:wu", resource=f"study:{STUDY}", view="full")
        await front.house.admin.call(grant, p.GrantAdded)
        elsewhere = p.Session(front.doctor.proof, "127.0.0.2")
        with pytest.raises(NotAuthenticated):  # a session belongs to the address of its log-in
            await front.look(elsewhere)
        assert (await front.look(wu))[0] != first
        refused = p.CheckDisclosure(b"x" * 156, front.doctor)
        with pytest.raises(Exception, match="not_permitted"):
            await front.guard.call(refused, p.DisclosureChecked)

    run(tmp_path, work)


def test_a_second_factor_gives_the_full_view_at_once_and_its_end_the_masked_one(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        masked, view = await front.look()
        assert view == "masked"
        with pytest.raises(SecondFactorNeeded):
            await front.look(want="full")
        await front.step_up()
        full, view = await front.look()
        assert (view, full != masked) == ("full", True)
        front.clock.ahead += 600
        assert (await front.look()) == (full, "full")  # used: the window slides
        front.clock.ahead += 901
        again, view = await front.look()
        assert (view, again not in (full, masked)) == ("masked", True)
        assert await front.look(want="masked") != (again, "masked")  # another wish, another disclosure

    run(tmp_path, work)


def test_a_request_that_runs_masked_ends_masked_when_the_factor_is_proved(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        async with front.viewings.join(front.doctor, STUDY) as masked:
            await front.step_up()
            assert (await front.look())[1] == "full"
            stream = await masked.stream(masked.disclosure.instances[0])
            assert b"Muster" not in stream.header
            assert await front.entries("disclosure-closed") == []
        while front.viewings._closing:
            await asyncio.sleep(0)
        assert len(await front.entries("disclosure-closed")) == 1

    run(tmp_path, work)


def test_an_instance_that_came_meanwhile_is_in_the_next_viewing(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        await front.look()
        await front.store(2)
        async with front.viewings.join(front.doctor, STUDY) as viewing:
            assert len(viewing.disclosure.instances) == 2

    run(tmp_path, work)


def test_an_expired_disclosure_is_not_joined(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        first, _ = await front.look()
        front.clock.ahead += 901
        assert (await front.look())[0] != first

    run(tmp_path, work)


def test_a_lost_guard_cuts_every_viewing(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        first, _ = await front.look()
        front.way.guard_lost()
        assert front.viewings._live == {}
        assert (await front.look())[0] != first

    run(tmp_path, work)


def test_viewings_are_bounded_and_idle_ones_make_room(tmp_path: Path) -> None:
    async def work(front: Front) -> None:
        await front.look()
        async with front.viewings.join(front.doctor, STUDY, "masked"):
            with pytest.raises(Throttled):
                await front.look()
        await front.look()
        assert len(front.viewings._live) == 1

    run(tmp_path, work, most=1)
