"""The event streams of one front, and what the guard pushes to them (`events`)."""

from __future__ import annotations

import asyncio
from typing import Final

from ribcage.guard.protocol import Response as Pushed
from ribcage.guard.protocol import Told
from ribcage.transfer.dicomweb.errors import Throttled
from ribcage.transfer.dicomweb.limits import WebLimits

ENDED: Final[dict[str, object]] = {"type": "session-ended"}


class Stream:
    """One page's stream: events that wait for it. `None` ends it without a word."""

    def __init__(self, most: int) -> None:
        self._queue: asyncio.Queue[dict[str, object] | None] = asyncio.Queue(most)
        self.overrun = False

    def put(self, event: dict[str, object] | None) -> None:
        """Give it an event; one that has too many waiting is ended."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.overrun = True

    async def get(self, seconds: float) -> dict[str, object] | None:
        """The next event. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            return await self._queue.get()


class EventHub:
    """The streams of one front."""

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        self._streams: dict[bytes, set[Stream]] = {}

    def on_push(self, message: Pushed) -> None:
        """Give every unsolicited message of the guard to this."""
        if not isinstance(message, Told):
            return
        for stream in self._streams.get(message.session, ()):
            stream.put(_event(message))

    def end_all(self) -> None:
        """The guard is gone, or the front stops: pages come back by themselves."""
        for stream in [each for streams in self._streams.values() for each in streams]:
            stream.put(None)

    def open(self, session: bytes) -> Stream:
        """A stream of this session. Raises Throttled (rule 3)."""
        own = self._streams.get(session, set())
        if len(own) >= self._limits.max_event_streams_per_session:
            raise Throttled("expected fewer pages of one session")
        if sum(map(len, self._streams.values())) >= self._limits.max_event_streams:
            raise Throttled("expected fewer open pages")
        stream = Stream(self._limits.max_waiting_events)
        self._streams.setdefault(session, set()).add(stream)
        return stream

    def close(self, session: bytes, stream: Stream) -> None:
        """The page is gone."""
        own = self._streams.get(session, set())
        own.discard(stream)
        if not own:
            self._streams.pop(session, None)


def _event(told: Told) -> dict[str, object]:
    if told.kind == "assurance":
        return {"type": "assurance", "until": told.until}
    if told.kind == "revoked":
        return {"type": "revoked", "study": told.study}
    if told.kind == "entry":
        return {"type": "disclosure", "n": told.entry, "kind": told.about}
    return ENDED
