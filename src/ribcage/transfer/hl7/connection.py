"""One HL7 connection: blocks in, one answer for each, in order (MLLP over TLS with a registered certificate).

Rules, in order:
1. A certificate that is not registered, or may not tell, is heard no further: the connection ends without an answer,
   and that is an entry.
2. Messages are answered one after the other; what is read ahead is bounded, and a message must end in time.
3. AA leaves when the guard has answered: durable and in force. Where the guard cannot, the answer is AE 207, and the
   sender sends it again.
4. Bytes that are no MLLP end the connection; a message that cannot be read is answered with what is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import cast

from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import CareTaken, CheckDevice, Device, DeviceKnown
from ribcage.storage.ports import Guard
from ribcage.transfer.hl7.answer import Header, Outcome, answers
from ribcage.transfer.hl7.charset import decode
from ribcage.transfer.hl7.errors import FramingBroken, MessageRefused
from ribcage.transfer.hl7.framing import Framer, block
from ribcage.transfer.hl7.limits import Hl7Limits
from ribcage.transfer.hl7.message import parse
from ribcage.transfer.hl7.told import told
from ribcage.transfer.limits import FrontLimits
from ribcage.transfer.refusals import Refusals

_log = logging.getLogger(__name__)


@dataclass
class Hl7Site:
    """What all HL7 connections of a front share. Used on its event loop only."""

    guard: Guard
    refusals: Refusals
    front: FrontLimits
    limits: Hl7Limits
    own_authorities: frozenset[str]
    connections: set[Hl7Connection] = field(default_factory=set)
    per_address: Counter[str] = field(default_factory=Counter)
    draining: bool = False

    def enter(self, connection: Hl7Connection, address: str) -> bool:
        """Count a connection in. False: one too many."""
        self.connections.add(connection)
        self.per_address[address] += 1
        within = self.per_address[address] <= self.front.max_connections_per_address
        return within and not self.draining

    def leave(self, connection: Hl7Connection, address: str) -> None:
        """Count it out."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.per_address[address] -= 1
            if self.per_address[address] <= 0:
                del self.per_address[address]

    def drain(self) -> None:
        """Take no more, and let each finish what is in hand."""
        self.draining = True
        for each in list(self.connections):
            each.drain()


class Hl7Connection(asyncio.Protocol):
    """An asyncio protocol over TLS."""

    def __init__(self, site: Hl7Site) -> None:
        self._site = site
        self._framer = Framer(site.limits.message_bytes)
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._device: Device | None = None
        self._address = ""
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._busy = False
        self._over = False

    # --- the transport's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        session = transport.get_extra_info("ssl_object")
        leaf = session.getpeercert(True) if session is not None else None
        room = self._site.enter(self, self._address)
        if not leaf or not room:
            self._site.refusals.note("limit" if leaf else "no_certificate", "hl7", self._address)
            self._transport.abort()
            return
        self._device = Device(hashlib.sha256(leaf).digest(), "", self._address)
        self._wait(self._site.limits.idle_seconds)
        self._worker = asyncio.get_running_loop().create_task(self._work(self._device))
        self._worker.add_done_callback(self._worker_done)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived (rules 2 and 4)."""
        if self._over:
            return
        inside = self._framer.inside
        try:
            messages = self._framer.receive(data)
        except FramingBroken:
            self._site.refusals.note("malformed", "hl7", self._address)
            self.kill()
            return
        self._waiting.extend(messages)
        if messages:
            self._wake.set()
        limits = self._site.limits
        if messages or not inside:
            self._wait(limits.block_seconds if self._framer.inside else limits.idle_seconds)
        self._set_reading()

    def eof_received(self) -> bool:
        """The peer will send nothing more: what it sent is answered, then the connection closes."""
        self._over = True
        self._wake.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a message in hand is finished."""
        self._over = True
        self._wake.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._worker is None:
            self._site.leave(self, self._address)

    # --- the front's side -------------------------------------------------------------------------------

    def drain(self) -> None:
        """End as soon as nothing is in hand."""
        self._over = True
        self._wake.set()

    def kill(self) -> None:
        """End now."""
        self._over = True
        self._waiting.clear()
        self._wake.set()
        if self._transport is not None:
            self._transport.abort()

    # --- inside -----------------------------------------------------------------------------------------

    async def _work(self, device: Device) -> None:
        try:
            known = await self._site.guard.call(CheckDevice(device, "", "hl7"), DeviceKnown)
        except GuardError:
            return
        if "his" not in known.may:
            self._site.refusals.note("not_permitted", "hl7", self._address)
            return
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                self._set_reading()
                self._busy = True
                await self._answer(device, message, known)
                self._busy = False
            if self._over:
                return
            self._wake.clear()
            await self._wake.wait()

    async def _answer(self, device: Device, message: bytes, known: DeviceKnown) -> None:
        """Rule 3."""
        header = Header()
        try:
            text = decode(message, known.charset, overrides=known.charset_overrides)
            parsed = parse(text, self._site.limits)
            header = Header.of(parsed)
            request = told(parsed, device, self._site.own_authorities)
            taken = await self._site.guard.call(request, CareTaken)
            outcome = Outcome(taken.code)
        except MessageRefused as refused:
            outcome = Outcome.of(refused)
        except GuardRefused as refused:
            outcome = Outcome(207)
            if refused.reason in ("not_permitted", "not_authenticated"):
                self.kill()  # suspended since, or no longer allowed
        except GuardError:
            outcome = Outcome(207)
        for each in answers(header, outcome, time.time()):
            self._send(block(each))

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _set_reading(self) -> None:
        full = len(self._waiting) >= self._site.limits.waiting_messages
        if full == self._paused or self._transport is None or self._transport.is_closing():
            return
        self._paused = full
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _wait(self, seconds: float) -> None:
        """Expect more within this time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expired)

    def _expired(self) -> None:
        if self._busy or self._paused:  # it is we who are late
            self._wait(self._site.limits.block_seconds)
            return
        if self._framer.inside:
            self._site.refusals.note("timeout", "hl7", self._address)
        self.kill()

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        if not worker.cancelled() and (failure := worker.exception()) is not None:
            _log.error("an HL7 connection ended on an internal error: %s", type(failure).__name__)
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(OSError):
            if self._transport is not None:
                self._transport.close()
        self._site.leave(self, self._address)
