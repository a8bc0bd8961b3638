"""Associations with the old PACS: opened when needed, kept for the next request, bounded (PS3.8).

Rules, in order (DESIGN rules 3 and 8):
1. Plain, and to the one address of the settings, which is loopback or a private one that they name as isolated
   (`transfer.limits.OldPacs`). No name is asked of the network.
2. One request at a time on each association. What is due within `answer_seconds` and does not come is PacsLost.
3. An association that failed, or was left in the middle of an answer, is not used again.
4. At most `max_associations` at once; who comes later waits. An idle one is released after `idle_seconds`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import cast

from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.association_events import AssociationAccepted, Event, ReleaseRequested
from ribcage.dicom.dimse import Command
from ribcage.dicom.errors import DicomError
from ribcage.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.pdu_items import ProposedContext, RoleSelection, UserInformation
from ribcage.dicom.upper_layer import AcceptedContext, Role, UpperLayer
from ribcage.storage.ports import Octets
from ribcage.transfer.limits import OldPacs
from ribcage.transfer.shield.errors import PacsLost

_READ_BYTES = 256 * 1024
_LAST_MESSAGE_ID = 0xFFFF
Proposal = tuple[str, tuple[str, ...]]  # abstract syntax, transfer syntaxes
Terms = tuple[tuple[Proposal, ...], tuple[str, ...]]  # and the classes in which the PACS sends to us


class Upstream(asyncio.BufferedProtocol):
    """One association as requestor. `Upstreams.take` gives one."""

    def __init__(self, pacs: OldPacs, limits: UpperLayerLimits, terms: Terms) -> None:
        proposals, scp = terms
        self._seconds = pacs.answer_seconds
        self._layer = UpperLayer(Role.REQUESTOR, limits)
        self._buffer = bytearray(_READ_BYTES)
        self._transport: asyncio.Transport | None = None
        self._events: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._full = False
        self._message_id = 0
        self.lost = False
        contexts = tuple(ProposedContext(2 * n + 1, uid, each) for n, (uid, each) in enumerate(proposals))
        user = UserInformation(
            max_pdu_bytes=limits.max_pdu_bytes,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            roles=tuple(RoleSelection(uid, False, True) for uid in scp),
        )
        self._layer.request(AssociateRq(pacs.ae_title, pacs.calling_ae_title, contexts, user))

    # --- the transport's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: ask for the association."""
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._layer.connected()
        self._flush()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes arrived."""
        self._take(self._layer.receive(memoryview(self._buffer)[:nbytes]))
        self._flush()

    def pause_writing(self) -> None:
        """The transport is full."""
        self._full = True

    def resume_writing(self) -> None:
        """The transport takes bytes again."""
        self._full = False
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._take(self._layer.connection_lost())
        self.lost = True
        self._changed.set()

    # --- the asker's side -------------------------------------------------------------------------------

    async def associated(self) -> None:
        """Wait for the acceptance. Raises PacsLost."""
        event = await self._next()
        if not isinstance(event, AssociationAccepted):
            self.abort()
            raise PacsLost("the PACS refuses the association: it must know the shield's AE title")

    def context_for(self, abstract_syntax: str, transfer_syntax: str = "") -> AcceptedContext | None:
        """An agreed context, or None."""
        return self._layer.context_for(abstract_syntax, transfer_syntax)

    def context(self, context_id: int) -> AcceptedContext:
        """The agreed context of a message that came."""
        return self._layer.contexts[context_id]

    def message_id(self) -> int:
        """A fresh message id."""
        self._message_id = self._message_id % _LAST_MESSAGE_ID + 1
        return self._message_id

    async def send(
        self,
        context_id: int,
        command: Command,
        data_set: Octets | None = None,
        allowed: Awaitable[object] | None = None,
    ) -> None:
        """One message, at the PACS's pace. Raises PacsLost.

        Its end is held back until `allowed` is done; what that raises passes on, the message never whole.
        """
        try:
            parts = None if data_set is None else (data_set,)
            held = b""
            for pdu in self._layer.stream_data(context_id, command, parts):
                if held:
                    await self._until_room()
                    self._write((held,))
                held = pdu
            if allowed is not None:
                await allowed
            await self._until_room()
            self._write((held,))
        except DicomError as failure:
            raise PacsLost("the association with the PACS ended") from failure

    async def receive(self) -> MessageReceived:
        """The next message. Raises PacsLost."""
        event = await self._next()
        if not isinstance(event, MessageReceived):
            self.abort()
            raise PacsLost("the PACS ended the association")
        return event

    def abort(self) -> None:
        """End at once."""
        self.lost = True
        self._layer.abort()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def release(self) -> None:
        """End in order; nobody waits for the answer."""
        self.lost = True
        with contextlib.suppress(DicomError):
            self._layer.release()
        self._flush()

    # --- inside -----------------------------------------------------------------------------------------

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ReleaseRequested):
                with contextlib.suppress(DicomError):
                    self._layer.release()
                self.lost = True
            else:
                self._events.append(event)
        self._changed.set()

    def _write(self, pdus: Sequence[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(pdus)

    def _flush(self) -> None:
        self._write(self._layer.data_to_send())
        if self._layer.should_close and self._transport is not None:
            self._transport.close()

    async def _until_room(self) -> None:
        while self._full and not self.lost:
            await self._wait()
        if self.lost:
            raise PacsLost("the association with the PACS ended")

    async def _next(self) -> Event:
        while not self._events:
            if self.lost:
                raise PacsLost("the PACS broke off")
            await self._wait()
        return self._events.popleft()

    async def _wait(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(self._seconds):
                await self._changed.wait()
        except TimeoutError:
            self.abort()
            raise PacsLost(f"the PACS did not answer within {self._seconds:g} s") from None


class Upstreams:
    """The associations of one front. Used on its event loop only."""

    def __init__(self, pacs: OldPacs, limits: UpperLayerLimits) -> None:
        self._pacs = pacs
        self._limits = limits
        self._idle: dict[Terms, list[Upstream]] = {}
        self._room = asyncio.Semaphore(pacs.max_associations)

    @contextlib.asynccontextmanager
    async def take(self, terms: Terms) -> AsyncIterator[Upstream]:
        """An association with these contexts; given back whole, or aborted (rule 3). Raises PacsLost."""
        async with self._room:
            upstream = self._kept(terms) or await self._open(terms)
            whole = False
            try:
                yield upstream
                whole = True
            finally:
                if not whole:
                    upstream.abort()
                elif not upstream.lost:
                    self._keep(terms, upstream)

    def close(self) -> None:
        """Release those that are idle."""
        for kept in self._idle.values():
            for each in kept:
                each.release()
        self._idle.clear()

    def _kept(self, terms: Terms) -> Upstream | None:
        kept = self._idle.get(terms, [])
        while kept:
            upstream = kept.pop()
            if not upstream.lost:
                return upstream
        return None

    def _keep(self, terms: Terms, upstream: Upstream) -> None:
        self._idle.setdefault(terms, []).append(upstream)
        loop = asyncio.get_running_loop()
        loop.call_later(self._pacs.idle_seconds, self._let_go, terms, upstream)

    def _let_go(self, terms: Terms, upstream: Upstream) -> None:
        kept = self._idle.get(terms, [])
        if upstream in kept:
            kept.remove(upstream)
            upstream.release()
        if not kept:
            self._idle.pop(terms, None)

    async def _open(self, terms: Terms) -> Upstream:
        upstream: Upstream | None = None
        try:
            async with asyncio.timeout(self._limits.artim_seconds):
                _, upstream = await asyncio.get_running_loop().create_connection(
                    lambda: Upstream(self._pacs, self._limits, terms), self._pacs.address, self._pacs.port
                )
                await upstream.associated()
        except OSError as failure:  # TimeoutError is one
            if upstream is not None:
                upstream.abort()
            raise PacsLost("the PACS does not answer at its port") from failure
        return upstream
