"""The witness on the network: HTTPS with its own certificate, one request, nothing else.

Rules, in order:
1. TLS 1.2 or 1.3 only; callers know the certificate by its fingerprint. Nobody needs a credential: whatever is not
   signed by a log's key that this witness was told of changes nothing and costs little.
2. A body has at most 64 KiB and 5 seconds; an address has `requests_per_second`; requests wait in a queue of bounded
   length for the one writer.
3. The answer leaves after the memory is durable. A memory that cannot answer is 503: nothing was signed.
4. Nothing of a request is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ribcage.crypto.memory import SecretFile
from ribcage.evidence import witness_protocol as protocol
from ribcage.oversight.witness.errors import WitnessError
from ribcage.oversight.witness.home import WitnessHome
from ribcage.oversight.witness.memory import WitnessMemory
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.dicomweb.serve import HttpProtocolFactory, http_protocol
from ribcage.transfer.tls import CIPHERS

_DRAIN_SECONDS = 5.0
_log = logging.getLogger("ribcage.witness")


@dataclass(frozen=True)
class WitnessLimits:
    """What a witness lets itself be made to spend."""

    body_seconds: float = 5.0
    requests_per_second: float = 20.0  # per address, after a burst of twice as many
    addresses: int = 4096  # whose rate is remembered
    waiting: int = 64  # requests at once
    connections: int = 256
    head_bytes: int = 8192
    handshake_seconds: float = 5.0


class _Rates:
    """A bucket of requests for each address; the longest unseen address is forgotten first."""

    def __init__(self, limits: WitnessLimits) -> None:
        self._limits = limits
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, now: float) -> None:
        """Count one request. Raises WitnessBusy."""
        most = 2 * self._limits.requests_per_second
        left, seen = self._buckets.pop(address, (most, now))
        left = min(most, left + (now - seen) * self._limits.requests_per_second)
        self._buckets[address] = (max(left - 1, 0.0), now)
        if len(self._buckets) > self._limits.addresses:
            self._buckets.popitem(last=False)
        if left < 1:
            raise protocol.WitnessBusy("too many requests from this address: wait a second")


class WitnessApp:
    """Answers `add-checkpoint`."""

    def __init__(
        self,
        home: WitnessHome,
        memory: WitnessMemory,
        limits: WitnessLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cosigner = home.cosigner
        self._memory = memory
        self._limits = limits or WitnessLimits()
        self._clock = clock
        self._rates = _Rates(self._limits)
        self._waiting = 0
        self.asgi = Starlette(routes=[Route(protocol.PATH, self._add, methods=["POST"])])

    async def _add(self, request: Request) -> Response:
        try:
            self._rates.take(request.client.host if request.client else "", time.monotonic())
            if self._waiting >= self._limits.waiting:
                raise protocol.WitnessBusy("too many requests at once: try again")
            self._waiting += 1
            try:
                body = await asyncio.wait_for(_body(request), self._limits.body_seconds)
                asked = protocol.AddCheckpoint.parse(body)
                line = await asyncio.to_thread(self._memory.add, asked, self._cosigner, int(self._clock()))
            finally:
                self._waiting -= 1
        except protocol.WitnessRefused as refused:
            return Response(refused.body, refused.status, {"content-type": refused.content_type})
        except (TimeoutError, ClientDisconnect):
            return Response(b"the request did not arrive in time\n", 408)
        except WitnessError as failure:
            _log.error("no answer: %s", failure)
            return Response(b"the witness cannot answer now; nothing was signed\n", 503)
        return Response(line.encode(), 200, {"content-type": "text/plain; charset=utf-8"})


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > protocol.MAX_REQUEST_BYTES:
            raise protocol.RequestMalformed(f"expected at most {protocol.MAX_REQUEST_BYTES} bytes")
    return bytes(data)


def _context(home: WitnessHome) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    with SecretFile(home.certificate_pem + b"\n" + home.tls_key_pem) as secret:
        context.load_cert_chain(secret.path)
    return context


async def listen(
    home: WitnessHome, memory: WitnessMemory, limits: WitnessLimits | None = None
) -> tuple[asyncio.Server, HttpProtocolFactory]:
    """Accept on the running loop. Raises OSError when the address is taken."""
    limits = limits or WitnessLimits()
    web = WebLimits(
        max_connections=limits.connections, max_head_bytes=limits.head_bytes, head_seconds=limits.body_seconds
    )
    factory = http_protocol(WitnessApp(home, memory, limits).asgi, web)
    server = await asyncio.get_running_loop().create_server(
        factory,
        home.address,
        home.port,
        ssl=_context(home),
        ssl_handshake_timeout=limits.handshake_seconds,
        backlog=64,
    )
    return server, factory


async def serve_witness(home: WitnessHome, ready: Callable[[str, int], None]) -> None:
    """Serve until SIGTERM or SIGINT. `ready` gets address and port. Raises WitnessError, OSError."""
    memory = WitnessMemory(home.folder / "memory.db")
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server, factory = await listen(home, memory)
    try:
        address, port = server.sockets[0].getsockname()[:2]
        ready(address, port)
        await stopping.wait()
    finally:
        server.close()
        with contextlib.suppress(asyncio.CancelledError):
            await factory.drain(_DRAIN_SECONDS)
        memory.close()
