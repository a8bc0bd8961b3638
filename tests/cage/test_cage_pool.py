"""The front's side: workers start when needed and end when idle, the queue is bounded, a lost job costs itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import uvloop

from helpers import planted_worker
from helpers.frames import source
from ribcage.cage import (
    Cage,
    CageBusy,
    CageFailed,
    CageLimits,
    FrameSource,
    PixelsUnreadable,
    RenderWish,
    WishInvalid,
)
from ribcage.cage.messages import MAX_HEADER_BYTES

FILM = source(np.arange(4096, dtype="u2").reshape(64, 64))
PLANTED = [sys.executable, "-I", str(planted_worker.__file__), "locked"]
ENDLESS, SHORT = (FrameSource(b"", name, b"") for name in ("spin", "spin_for_a_moment"))


def workers() -> set[int]:
    """The living child processes of this one."""
    found = {
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    }
    return {
        pid for pid in found if "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    }


async def until(met: Callable[[], bool], seconds: float = 10.0) -> None:
    """Give way until something holds."""
    async with asyncio.timeout(seconds):
        while not met():
            await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


def test_a_frame_is_decoded_and_rendered_under_uvloop() -> None:
    async def both() -> None:
        cage = Cage(CageLimits(workers=1))
        frame, picture = await asyncio.gather(cage.decode(FILM), cage.render(FILM, RenderWish("image/png")))
        assert frame.data == FILM.frame
        assert (picture.width, picture.height) == (64, 64)
        with pytest.raises(WishInvalid, match="quality"):
            await cage.render(FILM, RenderWish(quality=0))
        await cage.close()

    uvloop.run(both())


def test_workers_start_when_needed_and_never_more_than_allowed() -> None:
    async def test() -> None:
        before, cage = workers(), Cage(CageLimits(workers=2))
        assert workers() == before
        await cage.decode(FILM)
        assert len(workers() - before) == 1
        await asyncio.gather(*(cage.decode(FILM) for _ in range(8)))
        assert len(workers() - before) == 2
        await cage.close()
        assert workers() == before

    run(test)


def test_an_idle_worker_ends_and_the_next_job_gets_another() -> None:
    async def test() -> None:
        before, cage = workers(), Cage(CageLimits(workers=1, idle_seconds=0.05))
        await cage.decode(FILM)
        first = workers() - before
        await until(lambda: workers() == before)
        await cage.decode(FILM)
        assert workers() - before != first
        await cage.close()

    run(test)


def test_a_worker_is_replaced_after_its_jobs() -> None:
    async def test() -> None:
        before, cage, seen = workers(), Cage(CageLimits(workers=1, worker_jobs=2)), set()
        for _ in range(4):
            await cage.decode(FILM)
            seen |= workers() - before
        assert len(seen) == 2
        await cage.close()

    run(test)


def test_beyond_the_queue_the_cage_is_busy() -> None:
    async def test() -> None:
        cage = Cage(CageLimits(workers=1, queued_jobs=2), PLANTED)
        jobs = [asyncio.create_task(cage.decode(SHORT)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(CageBusy, match="at most 2"):
            await cage.decode(SHORT)
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        assert {str(answer) for answer in answers} == {"through"}
        await cage.close()

    run(test)


def test_a_cancelled_job_takes_its_worker_along_and_frees_its_place() -> None:
    async def test() -> None:
        before, cage = workers(), Cage(CageLimits(workers=1), PLANTED)
        with pytest.raises(WishInvalid, match="through"):
            await cage.decode(SHORT)
        first = workers() - before
        job = asyncio.create_task(cage.decode(ENDLESS))
        await until(lambda: bool(cage._working))
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        with pytest.raises(WishInvalid, match="through"):
            await cage.decode(SHORT)
        assert not first & workers()
        await cage.close()

    run(test)


def test_a_worker_killed_while_it_rests_is_not_used_again() -> None:
    async def test() -> None:
        before, cage = workers(), Cage(CageLimits(workers=1))
        await cage.decode(FILM)
        (pid,) = workers() - before
        os.kill(pid, 9)
        await until(lambda: workers() == before)
        assert (await cage.decode(FILM)).data == FILM.frame
        await cage.close()

    run(test)


def test_closing_ends_what_runs_and_what_comes() -> None:
    async def test() -> None:
        before, cage = workers(), Cage(CageLimits(workers=1), PLANTED)
        job = asyncio.create_task(cage.decode(ENDLESS))
        await until(lambda: bool(cage._working))
        await cage.close()
        with pytest.raises(CageFailed):
            await job
        with pytest.raises(CageFailed, match="closed"):
            await cage.decode(SHORT)
        await cage.close()
        assert workers() == before

    run(test)


def test_the_loop_goes_on_while_a_job_runs() -> None:
    async def test() -> None:
        cage = Cage(CageLimits(workers=1, job_seconds=0.3), PLANTED)
        with pytest.raises(WishInvalid):
            await cage.decode(SHORT)
        turns = 0
        job = asyncio.create_task(cage.decode(ENDLESS))
        while not job.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 1000
        assert isinstance(job.exception(), CageFailed)
        await cage.close()

    run(test)


def test_what_no_worker_would_take_is_not_sent() -> None:
    async def test() -> None:
        cage = Cage(CageLimits(max_frame_bytes=100))
        for one in (
            FrameSource(b"", "1.2", bytes(101)),
            FrameSource(bytes(MAX_HEADER_BYTES + 1), "1.2", b""),
        ):
            with pytest.raises(PixelsUnreadable, match="at most"):
                await cage.decode(one)
        await cage.close()

    run(test)


def test_a_job_that_needs_more_memory_than_allowed_fails_alone() -> None:
    wide = source(np.zeros((6000, 6000), "u4"))

    async def test() -> None:
        cage = Cage(CageLimits(workers=1, worker_memory_bytes=900 * 1024**2))
        with pytest.raises(CageFailed, match="memory"):
            await cage.render(wide, RenderWish())
        assert (await cage.decode(FILM)).data == FILM.frame
        await cage.close()

    run(test)


def test_a_program_that_is_not_there_fails_its_job() -> None:
    async def test() -> None:
        for command in (["/nowhere"], ["/bin/true"]):
            cage = Cage(CageLimits(workers=1), command)
            with pytest.raises(CageFailed):
                await cage.decode(FILM)
            await cage.close()

    run(test)


def test_limits_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="workers"):
        CageLimits(workers=0)
