"""Jobs of the sending queue as tests make and await them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pynetdicom import evt

from helpers.front_house import FrontHouse
from helpers.retrieve_peers import STUDY, granted
from ribcage.crypto.authority import Issued
from ribcage.guard import protocol as p
from ribcage.guard.limits import GuardLimits

SECONDS = 60
IMPATIENT = GuardLimits(queue_first_seconds=0.05, queue_most_seconds=0.2, queue_tries=1000)
A700 = 0xA700


class Unreliable:
    """A destination's answers, by a plan that repeats: 'ok', 'full' (A700), 'drop' (nothing kept), 'mute' (kept, no
    answer). `kept` and `answered` name what it has and what it acknowledged, each time."""

    def __init__(self, *plan: str) -> None:
        self._plan = plan
        self._count = 0
        self.kept: list[str] = []
        self.answered: list[str] = []

    def __call__(self, event: evt.Event) -> int:
        word = self._plan[self._count % len(self._plan)]
        self._count += 1
        uid = str(event.request.AffectedSOPInstanceUID)
        if word in ("ok", "mute"):
            self.kept.append(uid)
        if word == "ok":
            self.answered.append(uid)
        if word in ("drop", "mute"):
            event.assoc.abort()
        return A700 if word == "full" else 0


async def node(house: FrontHouse, *, grant: bool = True) -> tuple[Issued, bytes]:
    """NODE, a device that may retrieve: its certificate and key, and the archive's authority."""
    leaf = await house.leaf("node", "NODE", ["retrieve"])
    if grant:
        await granted(house, "node")
    return leaf


async def at(house: FrontHouse, port: int) -> None:
    """NODE listens at this port."""
    await house.house.admin.call(p.AddDestination("NODE", "node", "127.0.0.1", port), p.Noted)


async def queued(house: FrontHouse) -> int:
    """A job of the test study for NODE."""
    return (await house.house.admin.call(p.QueueStudy(STUDY, "", "NODE"), p.Queued)).job


async def job(house: FrontHouse, number: int) -> p.JobLine:
    """The job as it is now."""
    return (await house.house.admin.call(p.ShowJob(number), p.JobShown)).line


async def jobs(house: FrontHouse) -> list[p.JobLine]:
    """All jobs."""
    return (await house.house.admin.call(p.QueuePage(0, 1000), p.QueueLines)).jobs


async def until(done: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    """Wait until `done`. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await done():
            await asyncio.sleep(0.05)


async def ended(house: FrontHouse, number: int) -> p.JobLine:
    """The job once it is done or failed."""

    async def over() -> bool:
        return (await job(house, number)).state in ("done", "failed")

    await until(over)
    return await job(house, number)


def wait_for(done: Callable[[], bool], seconds: float = SECONDS) -> None:
    """As `until`, for tests without a loop."""
    last = time.monotonic() + seconds
    while not done():
        if time.monotonic() > last:
            raise TimeoutError("the queue did not get there")
        time.sleep(0.2)
