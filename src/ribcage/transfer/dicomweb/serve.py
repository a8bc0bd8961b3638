"""HTTPS on an accepted connection: uvicorn's httptools protocol with our limits and the peer's certificate.

Rules, in order:
1. Never over plain bytes: a transport without TLS is closed before anything is read (DESIGN rule 3).
2. The verified certificate's SHA-256 and the peer's address go into the ASGI scope, under `extensions`; no
   request header can set them. A certificate that the TLS context did not verify does not count.
3. The head is limited in bytes, fields and seconds, pipelining in requests, connections in number (rule 8).
4. No access log and no URL in any log line (rule 10); no server header.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, ClassVar, Final, Protocol

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from ribcage.guard.protocol import Response
from ribcage.transfer.dicomweb.app import make_app
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.event_hub import EventHub
from ribcage.transfer.dicomweb.headers import SECURITY_HEADERS
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.dicomweb.peer import PEER_EXTENSION, Peer
from ribcage.transfer.dicomweb.routes import Entry

_CUT_SECONDS: Final = 1.0  # for closing entries after a connection was cut


class _HeadRefused(Exception):
    """Raised inside a parser callback; httptools turns it into a parser error and the connection ends."""


class _EdgeLogger(logging.LoggerAdapter[logging.Logger]):
    """Drops tracebacks: an exception's text could quote a request."""

    @property
    def level(self) -> int:
        """The wrapped logger's level, which uvicorn asks for."""
        return max(self.logger.level, logging.INFO)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Replace the traceback by the exception's class name."""
        failure = kwargs.pop("exc_info", None)
        name = f" {type(failure).__name__}" if isinstance(failure, BaseException) else ""
        return f"{str(msg).strip()}{name}", kwargs


class HttpProtocolFactory(Protocol):
    """What the front gives to `loop.connect_accepted_socket`, and asks for load and drain."""

    def __call__(self) -> asyncio.Protocol:
        """A protocol for one accepted connection."""
        ...

    @property
    def connections(self) -> int:
        """Open connections."""
        ...

    def shutdown(self) -> None:
        """Close idle connections; busy ones close after their answer."""
        ...

    async def drain(self, seconds: float) -> None:
        """Shut down, wait up to `seconds` for the answers in hand, then cut what is left."""
        ...

    async def close(self) -> None:
        """End what outlives connections; the last call."""
        ...

    def on_push(self, message: Response) -> None:
        """Every unsolicited message of the guard but its identity."""
        ...

    def guard_lost(self) -> None:
        """The connection to the guard is gone."""
        ...


class RibcageHttpProtocol(HttpToolsProtocol):
    """One HTTPS connection. Construct through `make_http_protocol`."""

    _HEAD_ERROR: ClassVar[bytes] = b"the request head is malformed or beyond its limit"

    def __init__(self, config: Config, state: ServerState, limits: WebLimits) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self.access_log = False
        self.logger = _EdgeLogger(logging.getLogger("ribcage.transfer.dicomweb"), {})  # type: ignore[assignment]  # an adapter
        self._limits = limits
        self._peer = Peer(b"", "")
        self._in_head = True
        self._head_bytes = 0
        self._refuse_status = 400
        self._head_timer: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = self.loop.create_future()  # done once the connection is gone

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Learn the peer. Plain transports are closed at once (rule 1)."""
        super().connection_made(transport)
        session = transport.get_extra_info("ssl_object")
        if session is None:
            transport.abort()
            return
        self._peer = Peer(_fingerprint(session), self.client[0] if self.client else "")
        self._start_head()
        if len(self.connections) > self._limits.max_connections:
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_head_timer()
        if not self.closed.done():
            self.closed.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count head bytes before the parser buffers them, then parse (rule 3)."""
        if self.transport.is_closing():
            return
        if self._in_head:
            if self._head_timer is None:
                self._start_head()
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self._limits.max_head_bytes:
            self._refuse(431)

    def on_message_begin(self) -> None:
        """A new request: its scope gets the peer (rule 2)."""
        super().on_message_begin()
        self.scope["extensions"] = {PEER_EXTENSION: {"peer": self._peer}}
        if len(self.pipeline) >= self._limits.max_pipelined:
            self._refuse_status = 429
            raise _HeadRefused

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field."""
        if len(self.headers) >= self._limits.max_headers:
            self._refuse_status = 431
            raise _HeadRefused
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: measure it, then start the request."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.max_head_bytes:
            self._refuse_status = 431
            raise _HeadRefused
        self._in_head = False
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is complete; what follows is another head."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn when the parser gave up; nothing of the request is repeated."""
        self._refuse(self._refuse_status)

    def _start_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self._limits.head_seconds, self._head_too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """Answer once and close; a request that is being answered is simply cut."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            head = [STATUS_LINE[status], b"content-type: text/plain\r\n", b"connection: close\r\n"]
            head.append(b"content-length: %d\r\n" % len(self._HEAD_ERROR))
            head.extend(b"%b: %b\r\n" % field for field in SECURITY_HEADERS)
            self.transport.write(b"".join([*head, b"\r\n", self._HEAD_ERROR]))
        self.transport.close()


class _Factory:
    """Builds protocols that share one uvicorn configuration and state."""

    def __init__(
        self,
        app: ASGIApp,
        limits: WebLimits,
        close: Callable[[], Awaitable[None]],
        events: EventHub | None = None,
    ) -> None:
        self._limits = limits
        self._ending = close
        self._events = events
        self._state = ServerState()
        self._config = Config(
            app, http=HttpToolsProtocol, ws="none", lifespan="off", interface="asgi3", log_config=None,
            access_log=False, proxy_headers=False, server_header=False, date_header=True,
            timeout_keep_alive=limits.keep_alive_seconds,
        )  # fmt: skip
        self._config.load()

    def __call__(self) -> asyncio.Protocol:
        return RibcageHttpProtocol(self._config, self._state, self._limits)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._state.connections)

    def shutdown(self) -> None:
        """Close idle connections; busy ones close after their answer."""
        if self._events is not None:
            self._events.end_all()
        for connection in list(self._state.connections):
            connection.shutdown()

    def on_push(self, message: Response) -> None:
        """What the guard tells the pages."""
        if self._events is not None:
            self._events.on_push(message)

    def guard_lost(self) -> None:
        """Nothing can be told any more: the streams end."""
        if self._events is not None:
            self._events.end_all()

    async def drain(self, seconds: float) -> None:
        """Shut down, wait up to `seconds` for the answers in hand, then cut what is left."""
        open_now = [each for each in self._state.connections if isinstance(each, RibcageHttpProtocol)]
        self.shutdown()
        waited: set[asyncio.Future[None]] = {connection.closed for connection in open_now}
        waited |= self._state.tasks
        if waited:
            await asyncio.wait(waited, timeout=seconds)
        for connection in open_now:
            if not connection.closed.done():
                connection.transport.abort()
        left = {each for each in waited if not each.done()}
        if left:  # their disclosures get a closing entry
            await asyncio.wait(left, timeout=_CUT_SECONDS)

    async def close(self) -> None:
        """End what outlives connections."""
        await self._ending()


def make_http_protocol(context: WebContext, more: Sequence[Entry] = ()) -> HttpProtocolFactory:
    """A factory for `loop.connect_accepted_socket(factory, sock, ssl=…)`; call it inside the running loop.

    `more`: reviewed routes of rooms above this one.
    """
    return _Factory(make_app(context, more), context.limits, context.close, context.events)


def http_protocol(app: ASGIApp, limits: WebLimits) -> HttpProtocolFactory:
    """The same protocol for another application, for `loop.create_server(factory, ssl=…)`."""
    return _Factory(app, limits, _nothing)


async def _nothing() -> None:
    return None


def _fingerprint(session: ssl.SSLObject) -> bytes:
    """SHA-256 of the peer's verified leaf, b"" where it gave none or nothing verified it (rule 2)."""
    if session.context.verify_mode == ssl.CERT_NONE:
        return b""
    leaf = session.getpeercert(True)
    return hashlib.sha256(leaf).digest() if leaf else b""
