"""The supervisor's child processes: how guard and fronts are started, known to be ready, and ended.

Commands are given by the composition root as lists. These placeholders are replaced by descriptor numbers that
the child inherits: `{ready}` (the guard writes "ready\\n"), `{passphrase}` (a pipe that holds it and then ends),
`{lifeline}` (a pipe that ends when the supervisor is gone), `{control}` (a front's control socket).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ribcage.transfer.control import control_pair
from ribcage.transfer.errors import Hindered, ProcessFailed


class Child:
    """One child process in a session of its own, so that a terminal's Ctrl-C reaches only the supervisor."""

    def __init__(self, name: str, command: Sequence[str], descriptors: Mapping[str, int]) -> None:
        filled = [word.format_map(_Numbers(descriptors)) for word in command]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the composition root's own command
                filled,
                pass_fds=tuple(descriptors.values()),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as failure:
            raise Hindered(f"{name} did not start: {failure.strerror}") from failure
        try:
            self._watched = os.pidfd_open(self._process.pid)  # now: later there may be no descriptor left
        except OSError as failure:
            self._process.kill()
            self._process.wait()
            raise Hindered(f"{name} cannot be watched: {failure.strerror}") from failure
        self.name = name

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait for its end; the exit code, negative for a signal. Cancelling leaves it running."""
        if self._watched >= 0:
            await _readable(self._watched)
        code = self._process.wait()
        self._unwatch()
        return code

    def _unwatch(self) -> None:
        descriptor, self._watched = self._watched, -1
        if descriptor >= 0:
            os.close(descriptor)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        self._process.send_signal(number)

    async def end(self, within_seconds: float) -> None:
        """SIGTERM, wait, then SIGKILL."""
        if self.exit_code is not None:
            self._unwatch()
            return
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_seconds):
                await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.wait()


class _Numbers(dict[str, int]):
    """Leaves braces that are no placeholder of ours as they are."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


@dataclass
class GuardChild:
    """The guard's process and the supervisor's end of its lifeline."""

    child: Child
    lifeline: int

    def close(self) -> None:
        """Let go of the lifeline: a guard that still runs stops."""
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1


async def start_guard(
    command: Sequence[str], passphrase: bytes | bytearray, within_seconds: float
) -> GuardChild:
    """Start the guard, hand it the passphrase by a pipe, and wait until it is ready.

    Raises ProcessFailed, Hindered.
    """
    (secret_read, secret_write), (ready_read, ready_write), (life_read, life_write) = _pipes(3)
    theirs = {"passphrase": secret_read, "ready": ready_write, "lifeline": life_read}
    try:
        try:
            os.set_blocking(secret_write, False)
            os.write(secret_write, passphrase)  # far below the capacity of a pipe
            os.close(secret_write)
            child = Child("guard", command, theirs)
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)
        guard = GuardChild(child, life_write)
        try:
            async with asyncio.timeout(within_seconds):
                await _readable(ready_read)
            if not os.read(ready_read, 16).startswith(b"ready"):
                raise ProcessFailed("the guard ended before it was ready; its own message says why")
        except (TimeoutError, ProcessFailed) as failure:
            guard.close()
            await child.end(1.0)
            if child.exit_code == os.EX_IOERR:
                raise Hindered("the guard cannot use its disk; its own message says why") from None
            if isinstance(failure, TimeoutError):
                raise ProcessFailed(f"the guard was not ready within {within_seconds:g} s") from None
            raise
    finally:
        os.close(ready_read)
    return guard


def start_front(command: Sequence[str], number: int) -> tuple[Child, socket.socket]:
    """Start one front; its process and the supervisor's end of its control socket. Raises ProcessFailed."""
    try:
        ours, theirs = control_pair()
    except OSError as failure:
        raise Hindered(f"front {number} did not start: {failure.strerror}") from failure
    try:
        with theirs:
            return Child(f"front {number}", command, {"control": theirs.fileno()}), ours
    except ProcessFailed:
        ours.close()
        raise


def _pipes(count: int) -> list[tuple[int, int]]:
    """All of them or none. Raises ProcessFailed."""
    made: list[tuple[int, int]] = []
    try:
        while len(made) < count:
            made.append(os.pipe())
    except OSError as failure:
        for descriptor in itertools.chain(*made):
            os.close(descriptor)
        raise Hindered(f"no process can be started: {failure.strerror}") from failure
    return made


async def _readable(descriptor: int) -> None:
    """Wait until a descriptor can be read (a pidfd: until its process has ended)."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_reader(descriptor, done.set)
    try:
        await done.wait()
    finally:
        with contextlib.suppress(ValueError):
            loop.remove_reader(descriptor)
