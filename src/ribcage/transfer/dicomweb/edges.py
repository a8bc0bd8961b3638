"""POST /edge/entries: one film of an edge, sealed and signed as it was taken, through the one door.

Rules, in order (docs/adr/0018):
1. The asker is a device by its certificate; the guard says whether it is this edge and whether this is its next one,
   before a sealed byte is read. What it answered already it answers again.
2. Each segment is authenticated before a byte of it is used; the sealed bytes must be those that the edge signed, or
   nothing is admitted.
3. The film is admitted in the modality's name (`capture.flow`), while it arrives.
4. 200 and the receipt follow after it is durable. A film that never can be admitted is answered so, by a receipt too:
   the edge keeps it, and its queue goes on. Everything else is an error, and the edge sends again.
5. An edge may write. Nothing of these routes tells what is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ribcage.capture.admit import Ahead
from ribcage.capture.disarm import Expected
from ribcage.capture.errors import (
    AdmissionError,
    IdentityMismatch,
    NotUnderstood,
    TooLarge,
    Unsupported,
)
from ribcage.capture.flow import Course, Flow
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.sealing import ENVELOPE_BYTES, Opener, sealed_segments
from ribcage.crypto.sealing import HEADER_BYTES as SEALING_HEADER_BYTES
from ribcage.evidence.edge_entry import FRONT_BYTES, EntryContext, EntryFront, split_context
from ribcage.evidence.errors import EvidenceError
from ribcage.guard.errors import GuardError
from ribcage.guard.protocol import (
    CheckDevice,
    Device,
    DeviceKnown,
    EdgeAnswer,
    EdgeEntryOpened,
    EdgeEntryOver,
    EdgeReport,
    Noted,
    OpenEdgeEntry,
)
from ribcage.transfer.dicomweb.bodies import iter_body, read_json
from ribcage.transfer.dicomweb.context import Held, WebContext
from ribcage.transfer.dicomweb.errors import BadRequest, Conflicting, NotPermitted, TooSlow
from ribcage.transfer.dicomweb.principal import identify

MEDIA_TYPE = "application/vnd.ribcage.edge"
_FOR_GOOD = (IdentityMismatch, NotUnderstood, Unsupported, TooLarge)


class Damaged(NotUnderstood):
    """The sealed bytes are not what the edge signed: its disk lost them."""


class EdgeState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an edge reports of itself, as JSON."""

    waiting: int
    waiting_bytes: int
    oldest_seconds: float
    refused: int


class EdgeResources:
    """Handlers of /edge."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def take(self, request: Request) -> Response:
        """One entry."""
        device = _device(request)
        limits = self._context.limits
        body = _Body(iter_body(request, limits.max_store_bytes, limits.body_idle_seconds))
        front = await body.exactly(FRONT_BYTES)
        guard = self._context.guard()
        answer = await guard.ask(OpenEdgeEntry(device, front))
        if isinstance(answer, EdgeEntryOpened):
            uid, reason = "", ""
            try:
                uid = await self._admit(body, EntryFront.parse(front), answer)
            except AdmissionError as failure:
                if not isinstance(failure, _FOR_GOOD) or isinstance(failure.__cause__, GuardError):
                    raise
                reason = type(failure).__name__
            over = EdgeEntryOver(device, front, uid, reason)
            answer = await asyncio.shield(guard.call(over, EdgeAnswer))
        if not isinstance(answer, EdgeAnswer):
            raise Conflicting("expected the guard to open or answer this entry")
        await body.drain()
        return Response(answer.receipt, headers={"Content-Type": "text/plain; charset=utf-8"})

    async def report(self, request: Request) -> Response:
        """The edge's own state."""
        device = _device(request)
        state = await read_json(request, self._context.limits, EdgeState)
        told = EdgeReport(device, state.waiting, state.waiting_bytes, state.oldest_seconds, state.refused)
        await self._context.guard().call(told, Noted)
        return Response(status_code=204)

    async def _admit(self, body: _Body, front: EntryFront, opened: EdgeEntryOpened) -> str:
        """Rules 2 and 3; the SOP Instance UID. Raises AdmissionError, WebError, GuardError."""
        header = front.header
        try:
            sizes = sealed_segments(header.sealed_bytes)
            head = await body.exactly(ENVELOPE_BYTES + SEALING_HEADER_BYTES)
            digest = hashlib.sha256(head)
            opener = Opener(opened.object_key, header.envelope(opened.hospital), head)
        except CryptoError as failure:
            raise Damaged("the sealed bytes do not open") from failure
        flow: Flow | None = None
        with self._context.budget.hold() as budget:
            waiting = _Waiting(budget)
            try:
                for number, size in enumerate(sizes, 1):
                    plain = await self._segment(body, digest, opener, size, last=number == len(sizes))
                    if flow is None:
                        context, start = _context(plain)
                        flow = Flow(await self._course(opened.device, context, waiting))
                        flow.take(memoryview(plain)[start:])
                    else:
                        flow.take(memoryview(plain))
                    await waiting.until_room(flow)
                if flow is None or digest.digest() != header.sealed_sha256:
                    raise Damaged("the sealed bytes are not those that the edge signed")
                admission = await flow.admit()
            except BaseException:
                if flow is not None:
                    flow.drop()
                raise
            finally:
                if flow is not None:
                    flow.release()
        return admission.sop_instance_uid

    async def _segment(
        self, body: _Body, digest: hashlib._Hash, opener: Opener, size: int, *, last: bool
    ) -> bytes:
        sealed = await body.exactly(size)

        def work() -> bytes:
            digest.update(sealed)
            return opener.open(sealed, last=last)

        try:
            return await asyncio.to_thread(work)
        except CryptoError as failure:
            raise Damaged("the sealed bytes do not open") from failure

    async def _course(self, device: Device, context: EntryContext, waiting: _Waiting) -> Course:
        known = await self._context.guard().call(CheckDevice(device, context.called, "http"), DeviceKnown)
        expected = Expected(
            context.sop_class,
            context.sop_instance,
            charset=known.charset,
            charset_overrides=known.charset_overrides,
        )
        return Course(
            self._context.way_in(),
            device,
            "edge",
            context.called,
            context.transfer_syntax,
            expected,
            Ahead(),
            waiting.hold,
            waiting.moved,
        )


class _Waiting:
    """What a flow says of its room."""

    def __init__(self, budget: Held) -> None:
        self._budget = budget
        self._moved = asyncio.Event()

    def hold(self, change: int) -> bool:
        """Count bytes that the flow keeps, within the front's budget."""
        if change > 0:
            self._budget.take(change)
        return True

    def moved(self) -> None:
        """There may be room again."""
        self._moved.set()

    async def until_room(self, flow: Flow) -> None:
        """Wait while the flow is full."""
        while flow.full:
            self._moved.clear()
            await self._moved.wait()


class _Body:
    """A request's body, taken in pieces of a given size."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes. Raises BadRequest where the body ends before."""
        while len(self._held) < size:
            try:
                self._held += await anext(self._pieces)
            except StopAsyncIteration:
                raise BadRequest("expected a whole entry, the body ended before") from None
        taken = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        return taken

    async def drain(self) -> None:
        """Drop the rest, so that the edge sees the answer."""
        with contextlib.suppress(TooSlow):
            async for _ in self._pieces:
                pass


def _device(request: Request) -> Device:
    """Raises Unauthenticated, NotPermitted."""
    principal = identify(request)
    if not isinstance(principal, Device):
        raise NotPermitted("expected an edge's client certificate")
    return principal


def _context(plain: bytes) -> tuple[EntryContext, int]:
    try:
        return split_context(plain)
    except EvidenceError as failure:
        raise NotUnderstood("the context of a film is damaged") from failure
