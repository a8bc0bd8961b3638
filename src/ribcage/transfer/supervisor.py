"""The supervisor: accepts connections, hands each to the least loaded front, keeps guard and fronts alive.

Rules, in order:
1. Addresses are checked before anything starts; there is no plain listener (DESIGN rule 3).
2. The guard comes first, then the fronts, then the first connection is accepted. Without a ready front nothing
   is accepted: peers wait in the backlog.
3. The supervisor reads no byte of a connection.
4. Out of descriptors the supervisor stops accepting for a moment: it neither spins nor gives up a child.
5. A front that dies is replaced, and so is the guard, with growing pauses; a process that dies again and again
   stops everything. Where the disk fails (the guard's exit status EX_IOERR) or nothing can be started for lack of
   descriptors, it is tried again until that has passed.
6. The guard gets its passphrase by a pipe each time it starts; it is kept in memory without core dumps and, where
   the system allows it, without swap.
7. SIGTERM or SIGINT: stop accepting, let the fronts finish, then the guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from ribcage.crypto.memory import forbid_core_dumps, lock_memory
from ribcage.transfer import control as wire
from ribcage.transfer.control import Handed, StopFront
from ribcage.transfer.errors import Hindered, ProcessFailed, SettingsRefused
from ribcage.transfer.limits import ListenAddress, Listener, ListenLimits, check_addresses
from ribcage.transfer.supervisor_children import Child, GuardChild, start_front, start_guard

_ACCEPTS_PER_TURN = 32
_SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ACCEPT_PAUSE_SECONDS = 0.5
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SupervisorPlan:
    """What to run. Commands are lists with placeholders (`supervisor_children`)."""

    listeners: tuple[ListenAddress, ...]
    guard_command: tuple[str, ...]
    front_command: tuple[str, ...]
    fronts: int = 1
    named_public: frozenset[str] = frozenset()
    limits: ListenLimits = field(default_factory=ListenLimits)
    beside: Callable[[], Coroutine[object, object, None]] | None = (
        None  # runs while it serves; never gives up
    )


@dataclass
class _Front:
    """A front as the supervisor sees it."""

    number: int
    child: Child
    control: socket.socket
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    handed: int = 0
    load: int = 0  # connections it has, those on their way included


class Supervisor:
    """Runs one plan. `run` returns after `stop`."""

    def __init__(
        self,
        plan: SupervisorPlan,
        passphrase: bytes | bytearray,
        announce: Callable[[str], None],
    ) -> None:
        check_addresses(plan.listeners, plan.named_public)
        if plan.fronts < 1 or not plan.listeners:
            raise SettingsRefused("expected at least one front and one listener")
        self._plan = plan
        self._passphrase = bytearray(passphrase)
        self._announce = announce
        self._sockets: list[tuple[Listener, socket.socket]] = []
        self._fronts: dict[int, _Front] = {}
        self._accepting = False
        self._stopping = asyncio.Event()

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where each listener is bound, by kind; the last one of a kind."""
        return {kind: sock.getsockname()[:2] for kind, sock in self._sockets}

    def stop(self) -> None:
        """Ask for a graceful stop; safe from a signal handler of the loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Start everything, announce readiness, serve until `stop`. Raises ProcessFailed, SettingsRefused."""
        loop = asyncio.get_running_loop()
        keepers: list[asyncio.Task[None]] = []
        beside: asyncio.Task[None] | None = None
        for each in _STOP_SIGNALS:
            loop.add_signal_handler(each, self.stop)
        try:
            self._bind()
            guard_ready = asyncio.Event()
            keepers.append(loop.create_task(self._keep_guard(guard_ready)))
            await self._first(guard_ready.wait(), keepers)
            for number in range(self._plan.fronts if guard_ready.is_set() else 0):
                ready = asyncio.Event()
                keepers.append(loop.create_task(self._keep_front(number, ready)))
                await self._first(ready.wait(), keepers)
            if not self._stopping.is_set():
                self._announce(json.dumps({"ready": True, **self.addresses}))
                if self._plan.beside is not None:
                    beside = loop.create_task(self._plan.beside())
                await self._first(self._stopping.wait(), keepers)
        finally:
            self._stopping.set()
            self._pause()
            if beside is not None:
                beside.cancel()
            for _, sock in self._sockets:
                sock.close()
            await self._wind_up(keepers)
            for each in _STOP_SIGNALS:
                loop.remove_signal_handler(each)
            self._passphrase[:] = bytes(len(self._passphrase))

    async def _first(
        self, awaited: Coroutine[object, object, object], keepers: list[asyncio.Task[None]]
    ) -> None:
        """Wait for `awaited` or for a stop; a keeper that gives up ends the run with its error."""
        loop = asyncio.get_running_loop()
        waiting = {loop.create_task(awaited), loop.create_task(self._stopping.wait())}
        try:
            await asyncio.wait([*waiting, *keepers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        for keeper in keepers:
            if keeper.done() and not keeper.cancelled() and (failure := keeper.exception()) is not None:
                raise failure

    async def _wind_up(self, keepers: list[asyncio.Task[None]]) -> None:
        """Fronts first, then the guard (rule 7). `keepers[0]` keeps the guard."""
        for front in self._fronts.values():
            with contextlib.suppress(OSError):
                wire.send(front.control, StopFront())
        if keepers[1:]:
            await asyncio.wait(keepers[1:], timeout=self._plan.limits.drain_seconds)
        for keeper in [*keepers[1:], *keepers[:1]]:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError, ProcessFailed):
                await keeper

    # --- listeners --------------------------------------------------------------------------------------

    def _bind(self) -> None:
        for each in self._plan.listeners:
            family = socket.AF_INET6 if ":" in each.address else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
            self._sockets.append((each.listener, sock))
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setblocking(False)
                sock.bind((each.address, each.port))
                sock.listen(self._plan.limits.backlog)
            except OSError as failure:
                raise SettingsRefused(
                    f"{each.listener}: cannot listen on {each.address} port {each.port}: {failure.strerror}"
                ) from failure

    def _resume(self) -> None:
        if self._accepting or self._stopping.is_set():
            return
        self._accepting = True
        for kind, sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock.fileno(), self._accept, kind, sock)

    def _resume_if_ready(self) -> None:
        if any(each.ready.is_set() for each in self._fronts.values()):
            self._resume()

    def _pause(self) -> None:
        if not self._accepting:
            return
        self._accepting = False
        for _, sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())

    def _accept(self, kind: Listener, sock: socket.socket) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connection, peer = sock.accept()
            except BlockingIOError:
                return
            except OSError as failure:
                if failure.errno not in _SHORT_OF:  # the peer left again
                    continue
                _log.warning("%s: accepting pauses: %s", kind, failure.strerror)
                self._pause()
                asyncio.get_running_loop().call_later(_ACCEPT_PAUSE_SECONDS, self._resume_if_ready)
                return
            with connection:
                self._hand(kind, connection, str(peer[0]))

    def _hand(self, kind: Listener, connection: socket.socket, address: str) -> None:
        """Pass it to the least loaded front that takes it; close it when none does."""
        ready = [front for front in self._fronts.values() if front.ready.is_set()]
        for front in sorted(ready, key=lambda each: each.load):
            with contextlib.suppress(OSError):
                wire.send(front.control, Handed(kind, address), connection.fileno())
                front.handed += 1
                front.load += 1
                return
        _log.warning("%s: no front takes a connection", kind)

    # --- processes --------------------------------------------------------------------------------------

    async def _keep_guard(self, ready: asyncio.Event) -> None:
        """Run the guard, again when it dies, until cancelled."""
        limits = self._plan.limits
        pauses = _Pauses("guard", limits)
        guard: GuardChild | None = None
        try:
            while True:
                try:
                    guard = await start_guard(
                        self._plan.guard_command, self._passphrase, limits.ready_seconds
                    )
                except ProcessFailed as failure:
                    if not ready.is_set():
                        raise
                    hindered = isinstance(failure, Hindered)
                    _log.error("%s", failure)
                else:
                    ready.set()
                    code = await guard.child.wait()
                    guard.close()
                    hindered = code == os.EX_IOERR
                    _log.error("the guard ended with %d and is started again", code)
                await pauses.wait(for_ever=hindered)
        finally:
            if guard is not None:
                await guard.child.end(limits.drain_seconds)
                guard.close()

    async def _keep_front(self, number: int, ready: asyncio.Event) -> None:
        """Run one front, again when it dies, until the stop."""
        pauses = _Pauses(f"front {number}", self._plan.limits)
        first = True
        while not self._stopping.is_set():
            try:
                child, control = start_front(self._plan.front_command, number)
            except ProcessFailed as failure:
                if first:
                    raise
                _log.error("%s", failure)
                await pauses.wait(for_ever=isinstance(failure, Hindered))
                continue
            first = False
            front = _Front(number, child, control, ready)
            self._fronts[number] = front
            loop = asyncio.get_running_loop()
            loop.add_reader(control.fileno(), self._on_report, front)
            try:
                code = await child.wait()
            finally:
                loop.remove_reader(control.fileno())
                control.close()
                self._fronts.pop(number, None)
                if not any(each.ready.is_set() for each in self._fronts.values()):
                    self._pause()
                await child.end(self._plan.limits.drain_seconds)
            if self._stopping.is_set():
                return
            _log.error("front %d ended with %d and is started again", number, code)
            ready = asyncio.Event()
            await pauses.wait()

    def _on_report(self, front: _Front) -> None:
        try:
            load = wire.receive_as_supervisor(front.control)
        except BlockingIOError:
            return
        except (OSError, ProcessFailed):
            load = None
        if load is None:  # its end is seen by `wait`
            asyncio.get_running_loop().remove_reader(front.control.fileno())
            front.ready.clear()
            return
        front.load = load.connections + front.handed - load.taken
        if not front.ready.is_set():
            front.ready.set()
            self._resume()


class _Pauses:
    """Growing pauses between restarts; gives up after too many in a row (rule 5)."""

    def __init__(self, name: str, limits: ListenLimits) -> None:
        self._name = name
        self._limits = limits
        self._in_a_row = 0
        self._last = -limits.settled_seconds

    async def wait(self, *, for_ever: bool = False) -> None:
        """Wait before the next start. Raises ProcessFailed after too many, but never with `for_ever`."""
        now = asyncio.get_running_loop().time()
        self._in_a_row = self._in_a_row + 1 if now - self._last < self._limits.settled_seconds else 1
        self._last = now
        if for_ever:
            self._in_a_row = min(self._in_a_row, self._limits.max_restarts_in_a_row)
        if self._in_a_row > self._limits.max_restarts_in_a_row:
            raise ProcessFailed(f"{self._name} died {self._in_a_row} times in a row; its messages say why")
        grown = self._limits.restart_first_seconds * 2 ** (self._in_a_row - 1)
        await asyncio.sleep(min(grown, self._limits.restart_most_seconds))


def run_supervisor(
    plan: SupervisorPlan, passphrase: bytes | bytearray, announce: Callable[[str], None]
) -> None:
    """The supervisor process's main. `announce` gets the one line that says it is ready.

    Raises SettingsRefused, ProcessFailed.
    """
    forbid_core_dumps()
    lock_memory()
    asyncio.run(Supervisor(plan, passphrase, announce).run())
