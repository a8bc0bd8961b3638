"""The front's side of the cage: starts workers, gives each one job at a time, ends what does not answer.

Rules, in order:
1. A worker is a new program with an environment of two fixed names, /dev/null and one socket: never a fork of the
   front, which holds the TLS key and keys of live disclosures.
2. Workers start when a job needs one, up to `workers`; `queued_jobs` may wait, beyond that `CageBusy`.
3. A job has `job_seconds`, its start `start_seconds`. A worker that dies, hangs, answers otherwise than agreed, or
   whose caller is gone is killed, the job is `CageFailed`, and the next job gets a new worker.
4. A worker ends after `idle_seconds` without a job and after `worker_jobs` jobs.
5. Nothing here blocks the event loop but the start of a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from ribcage.cage.errors import CageBusy, CageFailed, PixelsUnreadable, WishInvalid
from ribcage.cage.messages import (
    HEAD,
    Answer,
    CageLimits,
    DecodeJob,
    Failed,
    FrameSource,
    Job,
    NativeFrame,
    Picture,
    Ready,
    RenderJob,
    RenderWish,
    check_answer,
    check_job,
    largest_answer_bytes,
    pack,
    read_answer,
)

WORKER: Final = (sys.executable, "-I", "-m", "ribcage.cage.worker")
_ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}  # one thread: one filter


class Cage:
    """Decodes and renders frames in workers of its own. Belongs to one event loop."""

    def __init__(self, limits: CageLimits | None = None, command: Sequence[str] = WORKER) -> None:
        self._limits = limits or CageLimits()
        self._command = command
        self._places = asyncio.Semaphore(self._limits.workers)
        self._waiting = 0
        self._closed = False
        self._closing = asyncio.Lock()
        self._resting: list[_Worker] = []
        self._working: set[_Worker] = set()
        self._ending: set[asyncio.Task[None]] = set()

    async def decode(self, source: FrameSource) -> NativeFrame:
        """The frame's samples. Raises PixelsUnreadable, CageBusy, CageFailed."""
        answer = await self._do(DecodeJob(source))
        if not isinstance(answer, NativeFrame):
            raise CageFailed("expected a native frame, got something else")
        return answer

    async def render(self, source: FrameSource, wish: RenderWish) -> Picture:
        """The frame as a picture. Raises PixelsUnreadable, WishInvalid, CageBusy, CageFailed."""
        answer = await self._do(RenderJob(source, wish))
        if not isinstance(answer, Picture):
            raise CageFailed("expected a picture, got something else")
        return answer

    async def close(self) -> None:
        """End every worker; jobs that run fail. Harmless when repeated."""
        self._closed = True
        for worker in self._working:
            worker.kill()  # its job sees it and ends it
        while self._resting:
            self._end(self._resting.pop())
        async with self._closing:
            for _ in range(self._limits.workers):
                await self._places.acquire()
            for _ in range(self._limits.workers):
                self._places.release()
        await asyncio.gather(*self._ending)

    async def _do(self, job: Job) -> NativeFrame | Picture:
        """Wait for a place within the queue's bound, then have a worker do the job (rules 2 and 3)."""
        check_job(job, self._limits)
        if self._places.locked() and self._waiting >= self._limits.queued_jobs:
            raise CageBusy(f"expected at most {self._limits.queued_jobs} waiting jobs, got more: ask again")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            if self._closed:
                raise CageFailed("the cage is closed")
            return await self._with_worker(job)
        finally:
            self._places.release()

    async def _with_worker(self, job: Job) -> NativeFrame | Picture:
        worker = self._rested() or _Worker(self._command)
        self._working.add(worker)
        done = False
        try:
            if not worker.ready:
                async with asyncio.timeout(self._limits.start_seconds):
                    await worker.start(self._limits)
            async with asyncio.timeout(self._limits.job_seconds):
                answer = await worker.ask(job, self._limits)
            result = check_answer(job, answer, self._limits)
            done = True
        except (PixelsUnreadable, WishInvalid):
            done = True
            raise
        except TimeoutError:
            raise CageFailed(f"the job was not done within {self._limits.job_seconds:g} s") from None
        except OSError:
            raise CageFailed("the worker died at its job; it is replaced") from None
        finally:
            self._working.discard(worker)
            if done and not self._closed and worker.jobs < self._limits.worker_jobs:
                self._rest(worker)
            else:
                self._end(worker)
        return result

    def _rested(self) -> _Worker | None:
        """The worker that rested last and still lives."""
        while self._resting:
            worker = self._resting.pop()
            worker.wake()
            if worker.alive:
                return worker
            self._end(worker)
        return None

    def _rest(self, worker: _Worker) -> None:
        worker.idle = asyncio.get_running_loop().call_later(self._limits.idle_seconds, self._dismiss, worker)
        self._resting.append(worker)

    def _dismiss(self, worker: _Worker) -> None:
        """Rule 4."""
        if worker in self._resting:
            self._resting.remove(worker)
            self._end(worker)

    def _end(self, worker: _Worker) -> None:
        """Kill it now, and see its end later."""
        worker.kill()
        task = asyncio.get_running_loop().create_task(worker.reap())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Worker:
    """One process and our end of its socket."""

    def __init__(self, command: Sequence[str]) -> None:
        self.ready = False
        self.jobs = 0
        self.idle: asyncio.TimerHandle | None = None
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own program, no word of it from outside
                    list(command),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=_ENVIRONMENT,
                    start_new_session=True,
                )
        except OSError as failure:
            self._socket.close()
            raise CageFailed(f"the worker did not start: {failure.strerror}") from failure

    @property
    def alive(self) -> bool:
        """False when it has ended."""
        return self._process.poll() is None

    async def start(self, limits: CageLimits) -> None:
        """Tell it its limits and wait until it is locked in. Raises CageFailed with its reason."""
        body = msgspec.msgpack.encode(limits)
        await self._send(HEAD.pack(len(body), 0), body)
        answer = await self._receive(limits)
        if isinstance(answer, Failed):
            raise answer.error()
        if not isinstance(answer, Ready):
            raise CageFailed("expected a worker that is locked in, got another answer")
        self.ready = True

    async def ask(self, job: Job, limits: CageLimits) -> Answer:
        """One job. Raises CageFailed, OSError when it dies."""
        self.jobs += 1
        self._arm(limits)
        await self._send(*pack(job))
        return await self._receive(limits)

    def wake(self) -> None:
        """No longer idle."""
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None

    def kill(self) -> None:
        """SIGKILL; nothing happens when it has ended. Who waits for its answer sees the end of the socket."""
        self.wake()
        self._process.kill()

    async def reap(self) -> None:
        """Wait until the killed process is gone. Nobody may wait for its answer any more."""
        self._socket.close()
        if self._process.poll() is not None:
            return
        descriptor = os.pidfd_open(self._process.pid)
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            with contextlib.suppress(ValueError):
                loop.remove_reader(descriptor)
            os.close(descriptor)
        self._process.wait()

    def _arm(self, limits: CageLimits) -> None:
        """Processor time for one more job: SIGXCPU behind it, should the front be too busy to see the deadline."""
        used = time.clock_gettime(
            ~self._process.pid << 3 | 2
        )  # the process's own clock, clock_getcpuclockid(3)
        _, most = resource.prlimit(self._process.pid, resource.RLIMIT_CPU)
        wanted = math.ceil(used + limits.job_seconds) + 1
        soft = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (soft, most))

    async def _send(self, *parts: bytes) -> None:
        loop = asyncio.get_running_loop()
        for part in parts:
            await loop.sock_sendall(self._socket, part)

    async def _receive(self, limits: CageLimits) -> Answer:
        body, bulk = HEAD.unpack(await self._exactly(HEAD.size))
        if body + bulk > largest_answer_bytes(limits):
            raise CageFailed("expected an answer within the cage's limits, got a longer one")
        return read_answer(await self._exactly(body), await self._exactly(bulk))

    async def _exactly(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        buffer = bytearray(count)
        view = memoryview(buffer)
        while view:
            read = await loop.sock_recv_into(self._socket, view)
            if read == 0:
                raise OSError("the worker ended")
            view = view[read:]
        return bytes(buffer)
