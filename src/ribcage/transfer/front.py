"""A front: takes accepted connections from the supervisor and speaks TLS, DICOM, HTTP and HL7 on them.

Rules, in order:
1. It listens nowhere. Descriptors come over the control socket; every socket gets TCP_NODELAY.
2. TLS first, with the cause of each failed handshake noted (DESIGN: DICOM and HTTP).
3. It is ready when the guard has given it a TLS identity; before that nothing is handed to it.
4. Connections, handshakes and threads are bounded; what is over is closed and noted. So are the senders that take
   jobs of the guard's queue.
5. On `StopFront`, or when the supervisor is gone: what is in hand is finished within `drain_seconds`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import uvloop

from ribcage.cage import Cage
from ribcage.capture.admit import WayIn
from ribcage.crypto.memory import forbid_core_dumps
from ribcage.guard.protocol import Response, TlsIdentity
from ribcage.storage.objects import ObjectStore
from ribcage.storage.ports import Guard
from ribcage.transfer import control as wire
from ribcage.transfer.control import Handed, Load
from ribcage.transfer.dimse.association import DimseAssociation, recheck, registered
from ribcage.transfer.dimse.forward import Forwarder
from ribcage.transfer.dimse.sender import pinned_context
from ribcage.transfer.dimse.site import DimseSite
from ribcage.transfer.errors import IdentityUnusable, ProcessFailed
from ribcage.transfer.guard_link import GuardLink
from ribcage.transfer.hl7.connection import Hl7Connection, Hl7Site
from ribcage.transfer.limits import FrontSettings, Listener
from ribcage.transfer.refusals import Refusals
from ribcage.transfer.shield.assembly import build_doors
from ribcage.transfer.tls import TlsContexts, classify
from ribcage.usage.disclose import WayOut

_REPORT_SECONDS = 0.2
_DRAIN_STEP_SECONDS = 0.05
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrontRooms:
    """What protocols are built on: the link to the guard and the two doors."""

    guard: Guard
    objects: ObjectStore
    way_in: WayIn
    way_out: WayOut


class HttpFactory(Protocol):
    """`ribcage.transfer.dicomweb.serve.make_http_protocol` gives one."""

    @property
    def connections(self) -> int:
        """Open connections."""

    def __call__(self) -> asyncio.Protocol:
        """A protocol for one accepted connection."""

    def shutdown(self) -> None:
        """Close idle connections; busy ones close after their answer."""

    async def close(self) -> None:
        """End what outlives connections; the last call."""

    def on_push(self, message: Response) -> None:
        """Every unsolicited message of the guard but its identity."""

    def guard_lost(self) -> None:
        """The connection to the guard is gone."""


MakeHttp = Callable[[FrontRooms], HttpFactory]


class Front:
    """One front process. `run` returns when it was stopped."""

    def __init__(self, control: socket.socket, settings: FrontSettings, make_http: MakeHttp | None) -> None:
        self._control = control
        self._settings = settings
        limits = settings.limits
        self._limits = limits
        self._link = GuardLink(settings.guard_socket, limits.guard_answer_seconds)
        self._doors = doors = build_doors(self._link, settings)
        self._rooms = FrontRooms(doors.guard, doors.objects, doors.way_in, doors.way_out)
        self._refusals = Refusals(self._link)
        self._site = DimseSite(
            doors.guard,
            self._rooms.way_in,
            self._rooms.way_out,
            self._refusals,
            settings.called_ae_titles,
            limits,
            settings.upper_layer,
            Cage(),
            self._client_context,
            shield=doors.pacs is not None,
        )
        self._hl7 = Hl7Site(self._link, self._refusals, limits, settings.hl7, settings.own_authorities)
        self._forwarder = Forwarder(self._site, limits.queue_poll_seconds)
        self._make_http = make_http
        self._http: HttpFactory | None = None
        self._contexts: TlsContexts | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._handshaking: Counter[str] = Counter()
        self._taken = 0
        self._ready = False
        self._recheck: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until stopped. Raises ProcessFailed when the control socket carries nonsense."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self._limits.worker_threads, "front"))
        if self._make_http is not None:
            self._http = self._make_http(self._rooms)
        way_out = self._rooms.way_out
        http = self._http

        def on_push(message: Response) -> None:
            way_out.on_push(message)
            if http is not None:
                http.on_push(message)

        def guard_lost() -> None:
            way_out.guard_lost()
            if http is not None:
                http.guard_lost()

        self._link.listen(self._take_identity, on_push, guard_lost)
        tasks = [
            loop.create_task(self._link.run()),
            loop.create_task(self._refusals.run(self._limits.refusal_report_seconds)),
            loop.create_task(self._report()),
            *(loop.create_task(self._forwarder.run()) for _ in range(self._limits.queue_senders)),
        ]
        loop.add_reader(self._control.fileno(), self._on_control)
        try:
            await self._stopping.wait()
        finally:
            loop.remove_reader(self._control.fileno())
            await self._drain()
            await self._refusals.report()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """Open connections of all kinds, handshakes included."""
        http = self._http.connections if self._http is not None else 0
        return len(self._site.associations) + len(self._hl7.connections) + http + len(self._handshakes)

    # --- the guard's side -------------------------------------------------------------------------------

    def _take_identity(self, identity: TlsIdentity) -> None:
        try:
            self._contexts = TlsContexts(identity)
        except IdentityUnusable as failure:
            _log.error("%s", failure)
            return
        self._ready = True
        self._send_load()
        self._recheck = asyncio.get_running_loop().create_task(recheck(self._site.associations))

    # --- the supervisor's side --------------------------------------------------------------------------

    def _on_control(self) -> None:
        """Take every message that waits."""
        while True:
            try:
                received = wire.receive_as_front(self._control)
            except BlockingIOError:
                return
            except (OSError, ProcessFailed) as failure:
                _log.error("control socket: %s", type(failure).__name__)
                received = None
            if received is None or not isinstance(received[0], Handed):
                self._stopping.set()
                return
            self._take(received[0], received[1])

    def _take(self, handed: Handed, descriptor: int) -> None:
        """One accepted connection (rules 1 and 4)."""
        self._taken += 1
        if descriptor < 0:  # we had none left for it, and the connection is gone
            self._refusals.note("limit", handed.listener, handed.address)
            return
        sock = socket.socket(fileno=descriptor)
        full = (
            self._contexts is None
            or self.connections >= self._limits.max_connections
            or len(self._handshakes) >= self._limits.max_handshakes
            or self._handshaking[handed.address] >= self._limits.max_handshakes_per_address
        )
        if full or (handed.listener == "https" and self._http is None):
            self._refusals.note("limit", handed.listener, handed.address)
            sock.close()
            return
        task = asyncio.get_running_loop().create_task(self._handshake(handed, sock))
        self._handshakes.add(task)
        self._handshaking[handed.address] += 1
        task.add_done_callback(lambda done: self._handshake_done(done, handed.address))

    async def _handshake(self, handed: Handed, sock: socket.socket) -> None:
        """TLS, then the protocol takes over (rule 2)."""
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._contexts is None:
                raise IdentityUnusable("there is no TLS identity")
            await asyncio.get_running_loop().connect_accepted_socket(
                self._factory(handed.listener),
                sock,
                ssl=self._contexts.fresh(handed.listener),
                ssl_handshake_timeout=self._limits.handshake_seconds,
                ssl_shutdown_timeout=self._limits.shutdown_seconds,
            )
        except OSError as failure:
            self._refusals.note(classify(failure), handed.listener, handed.address)
            sock.close()
        except IdentityUnusable:
            sock.close()

    def _client_context(self) -> ssl.SSLContext:
        """For a connection that we open. Raises IdentityUnusable."""
        if self._contexts is None:
            raise IdentityUnusable("there is no TLS identity")
        return pinned_context(self._contexts.identity)

    def _factory(self, listener: Listener) -> Callable[[], asyncio.BaseProtocol]:
        if listener == "https" and self._http is not None:
            return self._http
        if listener == "hl7":
            return lambda: Hl7Connection(self._hl7)
        return lambda: DimseAssociation(self._site, registered(self._site))

    def _handshake_done(self, task: asyncio.Task[None], address: str) -> None:
        self._handshakes.discard(task)
        self._handshaking[address] -= 1
        if self._handshaking[address] <= 0:
            del self._handshaking[address]
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.error("a connection ended on an internal error: %s", type(failure).__name__)
        self._send_load()

    async def _report(self) -> None:
        while True:
            self._send_load()
            await asyncio.sleep(_REPORT_SECONDS)

    def _send_load(self) -> None:
        if self._ready:
            with contextlib.suppress(OSError):  # a full or closed control socket: the next report tells
                wire.send(self._control, Load(self.connections, self._taken))

    # --- the end ----------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Finish what is in hand, then end what is left (rule 5)."""
        self._site.drain()
        self._hl7.drain()
        self._forwarder.stop()
        if self._http is not None:
            self._http.shutdown()
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.drain_seconds
        while (self.connections or self._forwarder.busy) and loop.time() < until:
            await asyncio.sleep(_DRAIN_STEP_SECONDS)
        for task in list(self._handshakes):
            task.cancel()
        for open_one in (*self._site.associations, *self._hl7.connections):
            open_one.kill()
        if self._http is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.guard_answer_seconds):
                    await self._http.close()
        await self._site.cage.close()
        if self._doors.pacs is not None:
            self._doors.pacs.close()
        await asyncio.sleep(_DRAIN_STEP_SECONDS)


def run_front(control_descriptor: int, settings: FrontSettings, make_http: MakeHttp | None) -> None:
    """The front process's main: serve on the control socket with this descriptor until stopped."""
    forbid_core_dumps()
    os.umask(0o027)

    async def main() -> None:
        with socket.socket(fileno=control_descriptor) as control:
            control.setblocking(False)
            await Front(control, settings, make_http).run()

    uvloop.run(main())
