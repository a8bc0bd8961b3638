"""A DICOM association on a TLS connection: moves bytes and time between a transport and the sans-IO upper layer.

Rules, in order:
1. No verified client certificate, no association (DESIGN rule 3); the upper layer sees no byte.
2. Requests are answered one at a time, in their order, by one task. Reading pauses while a second one waits.
3. Bytes held for unfinished instances count against the front's bound; the association that goes over it is
   aborted and noted. What is stored is sealed while it arrives (`capture.flow`); reading pauses while that lags.
4. ARTIM runs as the upper layer says (PS3.8 9.1.5); a silent association is aborted after `idle_seconds`.
5. An instance in hand is finished even when the peer is gone; only then is the association over.
6. A service with several responses sends the next one when the transport has taken those before; a peer that takes
   nothing for `idle_seconds` is aborted. C-CANCEL is seen while it waits behind the request it names.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.association_events import (
    Aborted,
    AssociationRejected,
    AssociationRequested,
    Event,
    ReleaseRequested,
)
from ribcage.dicom.dimse import CCancelRq, CGetRq, CMoveRq, Command, CStoreRq
from ribcage.dicom.errors import ProtocolMisuse
from ribcage.dicom.upper_layer import AcceptedContext, Role, UpperLayer
from ribcage.transfer.dimse.exchange import AssociationOver
from ribcage.transfer.dimse.line import Line, LineLost, Wires
from ribcage.transfer.dimse.service import Arriving, Service, Site
from ribcage.transfer.dimse.services import LOCAL_LIMIT_EXCEEDED, AssociationService, Rejection
from ribcage.transfer.dimse.site import DimseSite

_READ_BYTES = 256 * 1024
_QUIET_SECONDS = 0.5  # without a request; then the service may speak first
_WAITING_MESSAGES = 1
_log = logging.getLogger(__name__)


MakeUser = Callable[
    [asyncio.Transport, str], Service | None
]  # of the peer at this address; None: unknown (rule 1)


def registered(site: DimseSite) -> MakeUser:
    """The archive's service, for a peer with a verified client certificate."""

    def make(transport: asyncio.Transport, address: str) -> Service | None:
        session = transport.get_extra_info("ssl_object")
        leaf = session.getpeercert(True) if session is not None else None
        return AssociationService(site, hashlib.sha256(leaf).digest(), address) if leaf else None

    return make


class DimseAssociation(asyncio.BufferedProtocol):
    """One accepted connection on the DICOM listener. Used on the front's event loop only."""

    def __init__(self, site: Site, user: MakeUser) -> None:
        self._site, self._make_service = site, user
        self._layer = UpperLayer(Role.ACCEPTOR, site.upper_layer, self._sink)
        self._flow: Arriving | None = None  # the newest
        self._buffer = bytearray(_READ_BYTES)
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._service: Service | None = None
        self._worker: asyncio.Task[None] | None = None
        self._address = ""
        self._room = False
        self._busy = False
        self._paused = False
        self._unsaid = _Unsaid(self)
        self._lost = False
        self._draining = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._held_bytes = 0
        wires = Wires(self._write, self._after_layer, self._abort)
        self._line = Line(self._layer, wires, site.upper_layer.idle_seconds)
        self._artim = _Artim(site.upper_layer.artim_seconds, self._artim_expired)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._last_seen = 0.0

    # --- the transport's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done (rule 1)."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._room = self._site.enter(self, self._address)
        self._service = self._make_service(self._transport, self._address)
        if self._service is None:
            self._site.refusals.note("no_certificate", "dicom", self._address)
            self._transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._last_seen = loop.time()
        self._idle_timer = loop.call_later(self._site.upper_layer.idle_seconds, self._check_idle)
        self._worker = loop.create_task(self._work(self._service))
        self._worker.add_done_callback(self._worker_done)
        self._after_layer()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes arrived."""
        if self._service is None:
            return
        self._last_seen = asyncio.get_running_loop().time()
        before = self._layer.buffered_bytes
        events = self._layer.receive(memoryview(self._buffer)[:nbytes])
        finished = sum(len(event.data_set or b"") for event in events if isinstance(event, MessageReceived))
        within = self._hold(self._layer.buffered_bytes - before + finished)
        within = within and not (self._flow is not None and self._flow.over)
        self._take(events)
        if not within:
            self._site.refusals.note("limit", "dicom", self._address)
            self._abort()
        self._after_layer()

    def eof_received(self) -> bool:
        """The peer will send nothing more: close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what is in hand is finished first (rule 5)."""
        self._lost = True
        self._writable.set()
        self._line.lose()
        self._take(self._layer.connection_lost())
        self._artim.follow(0)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._wake.set()
        if self._worker is None:
            self._leave()

    def pause_writing(self) -> None:
        """The transport holds enough."""
        self._writable.clear()
        self._line.pause()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._writable.set()
        self._line.resume()

    # --- the service's side -----------------------------------------------------------------------------

    def cancelled(self, message_id: int | None) -> bool:
        """Whether a C-CANCEL of this request waits."""
        return any(
            isinstance(event, MessageReceived)
            and isinstance(event.command, CCancelRq)
            and event.command.responds_to == message_id is not None
            for event in self._events
        )

    async def send(self, context_id: int, command: Command, data_set: Iterable[bytes] | None) -> None:
        """One message, when the transport has room (rule 6). Raises AssociationOver."""
        await asyncio.sleep(0)  # so that a C-CANCEL is read
        try:
            async with asyncio.timeout(self._site.upper_layer.idle_seconds):
                await self._writable.wait()
        except TimeoutError:
            self._site.refusals.note("timeout", "dicom", self._address)
            self.kill()
        if self._lost or any(isinstance(event, ReleaseRequested | Aborted) for event in self._events):
            raise AssociationOver
        try:
            self._layer.send_data(context_id, command, data_set)
        except ProtocolMisuse:
            raise AssociationOver from None
        self._after_layer()

    # --- the front's side -------------------------------------------------------------------------------

    def drain(self) -> None:
        """Abort as soon as nothing is in hand."""
        self._draining = True
        if not self._busy and not self._events and not self._layer.inside_message:
            self._abort()

    def kill(self) -> None:
        """Abort now."""
        self._abort()

    # --- inside -----------------------------------------------------------------------------------------

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Aborted) and event.error is not None and not event.by_peer:
                self._site.refusals.note("malformed", "dicom", self._address)
            if isinstance(event, AssociationRejected):
                self._site.refusals.note("malformed", "dicom", self._address)
            if isinstance(event, MessageReceived) and self._line.in_use:
                self._line.give(event)
            else:
                self._events.append(event)
        if events:
            self._wake.set()
        self._set_reading()

    def _sink(self, context_id: int, command: Command) -> Arriving | None:
        """Where the data set of this command goes; None: it is kept."""
        if self._service is None or not isinstance(command, CStoreRq):
            return None
        context = self._layer.contexts[context_id]
        flow = self._service.receive(command, context, self._hold, self._set_reading)
        self._flow = flow or self._flow
        return flow

    def _set_reading(self) -> None:
        """Pause while a second request waits, resume when it is taken (rules 2 and 3)."""
        if self._transport is None or self._lost:
            return
        waiting = sum(isinstance(event, MessageReceived) for event in self._events)
        full = self._busy and waiting >= _WAITING_MESSAGES
        full = full or (self._flow is not None and self._flow.full)
        if full != self._paused:
            self._paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    async def _work(self, service: Service) -> None:
        """Answer events in order until the connection is gone and nothing is left."""
        try:
            while True:
                while self._events:
                    event = self._events.popleft()
                    self._busy = True
                    self._set_reading()
                    await self._handle(service, event)
                    self._busy = False
                    self._last_seen = asyncio.get_running_loop().time()
                if self._lost:
                    return
                if self._draining:
                    self.drain()
                self._wake.clear()
                await self._unsaid.wait(self._wake, service)
        finally:
            await service.finish()

    async def _handle(self, service: Service, event: Event) -> None:
        if isinstance(event, AssociationRequested):
            await self._associate(service, event)
        elif isinstance(event, MessageReceived):
            try:
                await self._answer(service, event)
            finally:
                self._hold(-len(event.data_set or b""))
                if event.sink is not None:
                    cast(Arriving, event.sink).release()
            await self._unsaid.say(service)
        elif isinstance(event, ReleaseRequested):
            self._locally(self._layer.release)

    async def _answer(self, service: Service, message: MessageReceived) -> None:
        if isinstance(message.command, CGetRq | CMoveRq):
            with contextlib.suppress(LineLost), self._line as line:
                early = [event for event in self._events if isinstance(event, MessageReceived)]
                for event in early:
                    self._events.remove(event)
                    line.give(event)
                await service.retrieve(message, self._layer.contexts, line)
            return
        exchange = _WayBack(self, message.context_id, getattr(message.command, "message_id", None))
        try:
            response = await service.answer(message, self._layer.contexts[message.context_id], exchange)
        except AssociationOver:
            return
        if response is not None:
            self._locally(lambda: self._layer.send_data(message.context_id, response))

    async def _associate(self, service: Service, event: AssociationRequested) -> None:
        verdict = await service.negotiate(event.request) if self._room else LOCAL_LIMIT_EXCEEDED
        if not self._room:
            self._site.refusals.note("limit", "dicom", self._address)
        if isinstance(verdict, Rejection):
            self._locally(lambda: self._layer.reject(verdict.result, verdict.source, verdict.reason))
        else:
            more = (verdict.extended, verdict.async_window, verdict.identity_response)
            self._locally(lambda: self._layer.accept(verdict.results, verdict.roles, *more))
            self._unsaid.contexts = tuple(self._layer.contexts.values())

    def _locally(self, action: Callable[[], None]) -> None:
        """A local primitive; harmless when the peer ended the association meanwhile."""
        with contextlib.suppress(ProtocolMisuse):
            action()
        self._take(self._layer.take_events())
        self._after_layer()

    def _write(self, pdus: Iterable[bytes]) -> None:
        if self._transport is not None and not self._lost and not self._transport.is_closing():
            self._transport.writelines(list(pdus))

    def _abort(self) -> None:
        self._line.lose()
        self._locally(self._layer.abort)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def _after_layer(self) -> None:
        """Write what is due, follow ARTIM, close when the upper layer says so."""
        output = self._layer.data_to_send()
        if self._transport is None or self._lost:
            return
        if output and not self._transport.is_closing():
            self._transport.writelines(output)
        self._artim.follow(self._layer.artim)
        if self._layer.should_close:
            self._transport.close()

    def _artim_expired(self) -> None:
        self._site.refusals.note("timeout", "dicom", self._address)
        self._take(self._layer.artim_expired())
        self._after_layer()
        if self._transport is not None:
            self._transport.close()

    def _check_idle(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._last_seen + self._site.upper_layer.idle_seconds - loop.time()
        busy = self._busy or self._paused
        if busy or left > 0:
            wait = max(left, 0.05) if not busy else self._site.upper_layer.idle_seconds
            self._idle_timer = loop.call_later(wait, self._check_idle)
            return
        self._site.refusals.note("timeout", "dicom", self._address)
        self._abort()

    def _hold(self, change: int) -> bool:
        self._held_bytes += change
        return self._site.hold(change)

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        if not worker.cancelled() and (failure := worker.exception()) is not None:
            _log.error("an association ended on an internal error: %s", type(failure).__name__)
        if not self._lost and self._transport is not None:
            self._transport.abort()
        self._leave()

    def _leave(self) -> None:
        self._site.hold(-self._held_bytes)
        self._held_bytes = 0
        self._site.leave(self, self._address)


class _Artim:
    """The timer, as the upper layer numbers its starts."""

    def __init__(self, seconds: float, expired: Callable[[], None]) -> None:
        self._seconds, self._expired = seconds, expired
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, number: int) -> None:
        """0: stopped; another number than before: started anew."""
        if number == self._number:
            return
        self._number = number
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expired) if number else None


async def recheck(associations: Iterable[object]) -> None:
    """The registry changed: end the associations of devices that are known no more."""
    for each in list(associations):
        service = each._service if isinstance(each, DimseAssociation) else None
        if isinstance(each, DimseAssociation) and service is not None and not await service.still_known():
            each.kill()


class _Unsaid:
    """What the service has to say unasked: once, when the first request is answered or none comes."""

    def __init__(self, association: DimseAssociation) -> None:
        self.contexts: tuple[AcceptedContext, ...] = ()
        self._association = association

    async def wait(self, wake: asyncio.Event, service: Service) -> None:
        """For the next event."""
        try:
            async with asyncio.timeout(_QUIET_SECONDS if self.contexts else None):
                await wake.wait()
        except TimeoutError:
            await self.say(service)

    async def say(self, service: Service) -> None:
        """Say it, if it was not said."""
        contexts, self.contexts = self.contexts, ()
        with contextlib.suppress(AssociationOver):
            for context in contexts:
                await service.begin(context, _WayBack(self._association, context.context_id, None))


class _WayBack:
    """Implements `ribcage.transfer.dimse.exchange.Exchange`."""

    def __init__(self, association: DimseAssociation, context_id: int, message_id: int | None) -> None:
        self._association = association
        self._context_id = context_id
        self._message_id = message_id

    def cancelled(self) -> bool:
        return self._association.cancelled(self._message_id)

    async def send(self, command: Command, data_set: Iterable[bytes] | None = None) -> None:
        await self._association.send(self._context_id, command, data_set)
