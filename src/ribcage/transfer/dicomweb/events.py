"""GET /api/events: what the guard tells a session, on every open page, as Server-Sent Events (HTML 9.2).

Rules, in order:
1. A stream belongs to a session the guard has verified; it ends with it.
2. The guard's push goes to every front, each front gives it to its own streams. A front without a guard ends them
   all: nothing could be told.
3. Streams are counted, for one session and in all; a reader that takes nothing loses its stream.
4. Nothing of a patient passes but the study's UID, to a session that was shown it.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.protocol import Person, WhoAmI
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.event_hub import ENDED, Stream
from ribcage.transfer.dicomweb.principal import require_session
from ribcage.transfer.dicomweb.streaming import StreamedResponse

_SESSION_ID: Final = slice(1, 17)  # of a proof (`docs/formats.md` 6.1)
_HEADERS: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


class EventResources:
    """The handler of the event stream."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def events(self, request: Request) -> Response:
        """GET /api/events. The stream is opened before the guard is asked, so that no push falls in between."""
        hub, session = self._context.events, require_session(request)
        stream = hub.open(session.proof[_SESSION_ID])
        try:
            person = await self._context.guard().call(WhoAmI(session=session), Person)
        except BaseException:
            hub.close(session.proof[_SESSION_ID], stream)
            raise
        return opened(self._context, session.proof, stream, person.expires_at)


def opened(context: WebContext, proof: bytes, stream: Stream, expires_at: float) -> Response:
    """The answer that gives a stream's events until the session ends."""
    body = _body(context, proof[_SESSION_ID], stream, expires_at)
    return StreamedResponse(body, _HEADERS, context.limits.send_stall_seconds)


async def _body(
    context: WebContext, session: bytes, stream: Stream, expires_at: float
) -> AsyncGenerator[bytes, None]:
    heartbeat = context.limits.event_heartbeat_seconds
    try:
        yield _line({"type": "hello"})
        while not stream.overrun:
            left = expires_at - time.time()
            if left <= 0:
                yield _line(ENDED)
                return
            try:
                event = await stream.get(min(heartbeat, left))
            except TimeoutError:
                yield b": \n\n"
                continue
            if event is None:
                return
            yield _line(event)
            if event == ENDED:
                return
    finally:
        context.events.close(session, stream)


def _line(event: dict[str, object]) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()
