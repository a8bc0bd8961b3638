"""The clock: a step back revives no grant, a step forward brings no deadline early, and nobody has to restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.test_guard_destruction import Ward
from helpers.guard_house import Clock, House, attributes, new_house, running
from helpers.refusals import reason
from ribcage.guard import protocol as p
from ribcage.guard.clock import MOST_BACK_SECONDS, MOST_FORWARD_SECONDS, ClockWatch
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits

UID = "1.2.3.1"
QUICK = GuardLimits(checkpoint_seconds=0.05)


class TwoClocks:
    """Readings that a test sets."""

    def __init__(self, wall: float = 1e9, boot: float = 1e4) -> None:
        self.wall, self.boot = wall, boot

    def watch(self, newest: float = 0.0) -> ClockWatch:
        return ClockWatch(lambda: self.wall, lambda: self.boot, newest)

    def pass_by(self, seconds: float, drift: float = 0.0) -> None:
        self.wall += seconds + drift
        self.boot += seconds


@pytest.mark.parametrize(
    ("step", "found"),
    [(-5.5, "back"), (-4.5, ""), (299.0, ""), (301.0, "forward"), (-1e8, "back"), (1e9, "forward")],
)
def test_a_step_is_noticed_from_five_seconds_back_and_five_minutes_forward(step: float, found: str) -> None:
    clocks = TwoClocks()
    watch = clocks.watch()
    clocks.wall += step
    assert watch.look() is bool(found)
    assert watch.stepped == found


def test_the_right_time_opens_again_and_only_it() -> None:
    clocks = TwoClocks()
    watch = clocks.watch()
    clocks.wall += 3600
    watch.look()
    clocks.pass_by(5000)
    assert watch.look() is False
    with pytest.raises(GuardRefused):
        watch.check()
    clocks.wall -= 3600
    assert watch.look() is True
    watch.check()


@given(st.lists(st.tuples(st.floats(0.5, 5000), st.floats(-1 / 120, 1 / 120)), max_size=60))
@settings(deadline=None)
def test_a_clock_that_drifts_is_followed(parts: list[tuple[float, float]]) -> None:
    """Half a second a minute, in either direction, for as long as it likes."""
    clocks = TwoClocks()
    watch = clocks.watch()
    for seconds, rate in parts:
        whole, rest = divmod(seconds, 60.0)
        for each in [60.0] * int(whole) + [rest]:
            clocks.pass_by(each, each * rate)
            watch.look()
            assert watch.stepped == ""


@given(st.floats(-1e6, 1e6), st.integers(1, 200))
@settings(deadline=None)
def test_small_steps_do_not_add_up_unnoticed(total: float, pieces: int) -> None:
    """A step cut into pieces within one second is the same step."""
    clocks = TwoClocks()
    watch = clocks.watch()
    for _ in range(pieces):
        clocks.wall += total / pieces
        clocks.boot += 1e-3
        watch.look()
    off = total - pieces * 1e-3
    if off < -MOST_BACK_SECONDS - 0.5 or off > MOST_FORWARD_SECONDS + 0.5:
        assert watch.stepped


def test_a_clock_before_the_newest_entry_was_stepped_back() -> None:
    clocks = TwoClocks()
    assert clocks.watch(newest=clocks.wall + 4).stepped == ""
    watch = clocks.watch(newest=clocks.wall + 60)
    assert watch.stepped == "back"
    clocks.pass_by(0.0, 60.0)
    watch.look()
    assert watch.stepped == ""


def test_accepting_makes_the_new_time_the_right_one() -> None:
    clocks = TwoClocks()
    watch = clocks.watch()
    clocks.wall += 7200
    watch.look()
    watch.accept()
    watch.check()
    clocks.wall -= 7200
    watch.look()
    assert watch.stepped == "back"


# --- in the guard ---------------------------------------------------------------------------------------


class Settable(Clock):
    """A clock that can be stepped: wall time moves, boot time does not."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0.0

    def __call__(self) -> float:
        return super().__call__() + self.step


async def ward(house: House) -> p.Device:
    device = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
    await house.store(device, attributes(1), bytes(3000))
    await house.admin.call(p.AddGrant("device:ws-1", f"study:{UID}", "full"), p.GrantAdded)
    return device


def disclose(house: House, device: p.Device) -> Awaitable[p.Disclosed]:
    ask = p.Disclose(principal=device, channel="dimse", study_instance_uid=UID)
    return house.front.call(ask, p.Disclosed)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("step", "word"), [(-60.0, "stepped-back"), (3600.0, "stepped-forward")])
def test_a_stepped_clock_closes_the_archive_and_the_right_one_opens_it(
    tmp_path: Path, step: float, word: str
) -> None:
    async def run() -> None:
        clock = Settable()
        async with new_house(tmp_path, QUICK, clock) as house:
            device = await ward(house)
            live = await disclose(house, device)
            clock.step = step
            query = p.Query(principal=device, channel="dimse", level="study", filters={})
            assert await reason(disclose(house, device)) == "unavailable"
            assert await reason(house.front.call(query, p.QueryAnswer)) == "unavailable"
            more = p.AddGrant("device:ws-1", "study:1.2.3.1", "original")
            assert await reason(house.admin.call(more, p.GrantAdded)) == "unavailable"
            assert await reason(
                house.front.call(p.Open(live.receipt, device, [live.instances[0].object_id]), p.Opened)
            ) in ("not_permitted", "unavailable")
            assert (await house.front.call(p.GetReadiness(), p.Readiness)).closed == ["clock"]
            stored = await house.store(device, attributes(2), bytes(100))
            assert isinstance(stored, p.Committed)  # a modality is not kept waiting by a clock
            await house.admin.call(p.RevokeGrant(grant_id=1), p.Noted)  # nor is a revocation
            await until(lambda: any(isinstance(each, p.Revoked) for each in house.pushed))
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert any("the clock was stepped" in each for each in status.findings)
            await until(lambda: house.server._told == word.removeprefix("stepped-"))
            clock.step = 0.0
            await until(lambda: house.server._told == "")
            await house.admin.call(p.AddGrant("device:ws-1", f"study:{UID}", "full"), p.GrantAdded)
            assert (await house.front.call(p.GetReadiness(), p.Readiness)).closed == []
            assert (await disclose(house, device)).view == "full"
            page = await house.admin.call(p.AuditPage(0, 1000), p.AuditEntries)
            told = [body for _, body in page.entries if "clock-changed" in body]
            assert word in told[0] and "restored" in told[-1]
            assert await house.verify() == []

    asyncio.run(run())


def test_an_expired_grant_does_not_come_back_with_the_clock(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Settable()
        async with new_house(tmp_path, QUICK, clock) as house:
            device = await ward(house)
            clock.ahead += 25 * 3600
            assert await reason(disclose(house, device)) == "not_permitted"
            clock.step = -2 * 3600.0
            assert await reason(disclose(house, device)) == "unavailable"
        async with running(tmp_path / "home", QUICK, clock) as house:  # a restart does not help
            assert await reason(disclose(house, device)) == "unavailable"

    asyncio.run(run())


def test_without_the_watch_an_expired_grant_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(ClockWatch, "look", lambda _self: False)

    async def run() -> None:
        clock = Settable()
        async with new_house(tmp_path, QUICK, clock) as house:
            device = await ward(house)
            clock.ahead += 25 * 3600
            assert await reason(disclose(house, device)) == "not_permitted"
            clock.step = -2 * 3600.0
            assert (await disclose(house, device)).view == "full"

    asyncio.run(run())


def test_an_operator_may_accept_the_time(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Settable()
        async with new_house(tmp_path, QUICK, clock) as house:
            device = await ward(house)
            clock.step = 7200.0
            assert await reason(disclose(house, device)) == "unavailable"
            await house.admin.call(p.AcceptClock(), p.Noted)
            assert (await disclose(house, device)).view == "full"
            page = await house.admin.call(p.AuditPage(0, 1000), p.AuditEntries)
            assert any("accepted" in body and "clock" in body for _, body in page.entries)

    asyncio.run(run())


def test_a_step_forward_destroys_nothing_early(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Settable()
        async with new_house(tmp_path, QUICK, clock) as house:
            ward_ = Ward(house, clock)
            await ward_.fill()
            await ward_.approve((await ward_.ask()).number)
            clock.step = 8 * 86400.0
            assert await reason(ward_.run()) == "unavailable"
            clock.step = 0.0
            assert await ward_.run() == []

    asyncio.run(run())
