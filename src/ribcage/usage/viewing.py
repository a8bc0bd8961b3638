"""Viewings: a viewer's many requests for one study inside one disclosure.

Rules, in order (DESIGN: a disclosure is (subject, session, study, view, purpose)):
1. A viewing is shared by requests of the same proof or certificate from the same address that want the same of the
   same study. Nobody else's request ever joins it.
2. Each request that joins is checked again at the guard (`CheckDisclosure`). Where a disclosure asked for now would
   have another view or other instances, a new one is asked for; what runs in the old one runs to its end.
3. It ends when it is cut, has expired or nobody used it for `idle_seconds`; then its closing entry is written, as
   soon as the last request has left it.
4. The guard's refusal of the session is passed on as it is. Any other refusal leads to a new question, whose
   refusal is an entry.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import (
    CheckDisclosure,
    Device,
    DisclosureChecked,
    InstanceRef,
    Principal,
    Purpose,
    Session,
)
from ribcage.usage.disclose import Disclosure, InstanceStream, Want, WayOut, open_disclosure
from ribcage.usage.errors import DisclosureCut, RequestInvalid, Throttled, disclosure_error
from ribcage.usage.pixels import Pixels, open_pixels

_STREAMS_KEPT = 8  # opened instances of one viewing, for the next frame of the same
_KEPT_HEADER_BYTES = 8 * 1024 * 1024


@dataclass
class Viewing:
    """One live disclosure with its users, and the instances opened last."""

    key: bytes
    way: WayOut
    disclosure: Disclosure
    users: int = 0
    timer: asyncio.TimerHandle | None = None
    closed: bool = False
    _streams: OrderedDict[bytes, InstanceStream] = field(default_factory=OrderedDict)
    _pixels: dict[bytes, Pixels] = field(default_factory=dict)

    async def pixels(self, ref: InstanceRef, max_frame_bytes: int) -> Pixels:
        """The pixels of one instance, from memory likewise. Raises DisclosureError."""
        stream = await self.stream(ref)
        pixels = self._pixels.get(ref.object_id)
        if pixels is None or pixels.stream is not stream:
            pixels = await open_pixels(stream, max_frame_bytes)
            if ref.object_id in self._streams:
                self._pixels[ref.object_id] = pixels
        return pixels

    async def stream(self, ref: InstanceRef) -> InstanceStream:
        """One instance, from memory where it was opened just before. Raises DisclosureError."""
        self.disclosure.check_alive()
        stream = self._streams.get(ref.object_id)
        if stream is None:
            stream = await self.disclosure.instance_stream(ref)
            if len(stream.stored) <= _KEPT_HEADER_BYTES:
                self._streams[ref.object_id] = stream
        if ref.object_id in self._streams:
            self._streams.move_to_end(ref.object_id)
        while len(self._streams) > _STREAMS_KEPT:
            oldest, _ = self._streams.popitem(last=False)
            self._pixels.pop(oldest, None)
        return stream

    def forget(self) -> None:
        """Drop opened instances and their keys."""
        self._streams.clear()
        self._pixels.clear()


class Viewings:
    """The viewings of one front. `close` ends them all when the front stops."""

    def __init__(
        self, way_out: Callable[[], WayOut], idle_seconds: float = 30.0, max_viewings: int = 1024
    ) -> None:
        self._way_out = way_out
        self._idle_seconds = idle_seconds
        self._max_viewings = max_viewings
        self._live: dict[bytes, Viewing] = {}
        self._opening: dict[bytes, asyncio.Task[Viewing]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def join(
        self, principal: Principal, study: str, want: Want = "best", purpose: Purpose = "TREAT"
    ) -> AsyncIterator[Viewing]:
        """Enter the viewing of this study, or open it. Raises DisclosureError."""
        key = _key(principal, study, want, purpose)
        viewing = await self._find(key, principal, study, want, purpose)
        viewing.users += 1
        if viewing.timer is not None:
            viewing.timer.cancel()
            viewing.timer = None
        try:
            yield viewing
        finally:
            viewing.users -= 1
            if not viewing.users:
                self._left(viewing)

    async def close(self) -> None:
        """End every viewing and wait for the closing entries."""
        for viewing in list(self._live.values()):
            viewing.disclosure.cut("closed")
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _find(
        self, key: bytes, principal: Principal, study: str, want: Want, purpose: Purpose
    ) -> Viewing:
        viewing = self._live.get(key)
        if viewing is not None:
            if await self._may_join(viewing, principal):
                return viewing
            self._retire(viewing)
        opening = self._opening.get(key)
        if opening is None:
            opening = asyncio.get_running_loop().create_task(self._open(key, principal, study, want, purpose))
            self._opening[key] = opening
            opening.add_done_callback(lambda _: self._opening.pop(key, None))
        viewing = await asyncio.shield(opening)
        if not viewing.disclosure.alive:
            raise DisclosureCut(
                "the disclosure ended while it was opened", viewing.disclosure.answer.log_index
            )
        return viewing

    async def _may_join(self, viewing: Viewing, principal: Principal) -> bool:
        """Rule 2 and rule 4."""
        if not viewing.disclosure.alive:
            return False
        try:
            request = CheckDisclosure(viewing.disclosure.answer.receipt, principal)
            checked = await viewing.way.guard.call(request, DisclosureChecked)
        except GuardRefused as refused:
            viewing.disclosure.cut("revoked")
            if refused.reason == "not_authenticated":
                raise disclosure_error(refused) from refused
            return False
        except GuardError as failure:
            raise disclosure_error(failure) from failure
        return checked.current and viewing.disclosure.alive

    async def _open(
        self, key: bytes, principal: Principal, study: str, want: Want, purpose: Purpose
    ) -> Viewing:
        self._make_room()
        way = self._way_out()
        disclosure = await open_disclosure(way, principal, "dicomweb", study, want=want, purpose=purpose)
        viewing = Viewing(key, way, disclosure)
        disclosure.ended = lambda: self._retire(viewing)
        await disclosure.__aenter__()
        self._live[key] = viewing
        self._left(viewing)
        return viewing

    def _make_room(self) -> None:
        if len(self._live) < self._max_viewings:
            return
        idle = next((viewing for viewing in self._live.values() if not viewing.users), None)
        if idle is None:
            raise Throttled("expected fewer viewings at once")
        self._retire(idle)

    def _left(self, viewing: Viewing) -> None:
        """Nobody is inside: wait for the next request, or close it when it may have none (rule 3)."""
        if self._live.get(viewing.key) is not viewing:
            self._close(viewing)
            return
        self._live[viewing.key] = self._live.pop(viewing.key)  # used last
        wait = min(self._idle_seconds, max(0.0, viewing.disclosure.answer.expires_at - viewing.way.clock()))
        viewing.timer = asyncio.get_running_loop().call_later(wait, self._retire, viewing)

    def _retire(self, viewing: Viewing) -> None:
        """No request joins it from now on."""
        if self._live.get(viewing.key) is not viewing:
            return
        del self._live[viewing.key]
        if not viewing.users:
            self._close(viewing)

    def _close(self, viewing: Viewing) -> None:
        if viewing.timer is not None:
            viewing.timer.cancel()
            viewing.timer = None
        viewing.forget()
        viewing.disclosure.cut("closed")  # at once: a request that is just being checked must not enter
        if viewing.closed:
            return
        viewing.closed = True
        task = asyncio.get_running_loop().create_task(viewing.disclosure.__aexit__(None, None, None))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _key(principal: Principal, study: str, want: str, purpose: str) -> bytes:
    """What requests must share to share a viewing (rule 1); a proof is never kept as it is."""
    if isinstance(principal, Session):
        parts = [b"session", principal.proof, principal.address.encode()]
    elif isinstance(principal, Device):
        parts = [b"device", principal.fingerprint, principal.ae_title.encode(), principal.address.encode()]
    else:
        raise RequestInvalid("an operator has no viewing")
    parts += [study.encode(), want.encode(), purpose.encode()]
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
