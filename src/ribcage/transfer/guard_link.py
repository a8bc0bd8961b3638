"""A front's connection to the guard, renewed when the guard was restarted.

Rules, in order:
1. Without a connection every call fails with GuardUnavailable: closed by default (DESIGN rule 5).
2. The moment the connection is lost every live disclosure is cut, since no revocation could reach this front.
3. `Hello` is the first call on each connection; its `TlsIdentity`, and every one pushed later, replaces the TLS
   contexts.
4. A call that is not answered in time fails; its answer, if it comes, is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from ribcage.guard.client import GuardClient, expect
from ribcage.guard.errors import GuardError, GuardUnavailable
from ribcage.guard.protocol import Hello, Request, Response, TlsIdentity

_Expected = TypeVar("_Expected")
_FIRST_WAIT_SECONDS = 0.05
_MOST_WAIT_SECONDS = 1.0
_BUFFER_BYTES = 1024 * 1024


class _WatchedReader(asyncio.StreamReader):
    """A stream reader that tells when the peer is gone."""

    def __init__(self, gone: asyncio.Event) -> None:
        super().__init__(limit=_BUFFER_BYTES)
        self._gone = gone

    def feed_eof(self) -> None:
        super().feed_eof()
        self._gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._gone.set()


class GuardLink:
    """Implements `ribcage.storage.ports.Guard` over connections that come and go. `run` keeps it up."""

    def __init__(self, path: Path, answer_seconds: float) -> None:
        self._path = path
        self._answer_seconds = answer_seconds
        self._client: GuardClient | None = None
        self._on_identity: Callable[[TlsIdentity], None] = _ignore
        self._on_push: Callable[[Response], None] = _ignore
        self._on_lost: Callable[[], None] = _nothing

    def listen(
        self,
        on_identity: Callable[[TlsIdentity], None],
        on_push: Callable[[Response], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Who is told what, set once before `run`."""
        self._on_identity, self._on_push, self._on_lost = on_identity, on_push, on_lost

    @property
    def up(self) -> bool:
        """Whether a greeted connection stands."""
        return self._client is not None

    async def call(self, request: Request, expected: type[_Expected]) -> _Expected:
        """As `GuardClient.call`, within `answer_seconds`."""
        return expect(await self.ask(request), expected)

    async def ask(self, request: Request) -> Response:
        """As `GuardClient.ask`, within `answer_seconds`."""
        if self._client is None:
            raise GuardUnavailable("there is no connection to the guard")
        return await self._within(self._client.ask(request))

    async def run(self) -> None:
        """Keep a connection up until cancelled."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            with contextlib.suppress(GuardError, OSError):
                await self._hold_one()
                wait = _FIRST_WAIT_SECONDS
            await asyncio.sleep(wait)
            wait = min(2 * wait, _MOST_WAIT_SECONDS)

    async def _hold_one(self) -> None:
        """Connect, greet, and stay until the connection is lost."""
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        reader = _WatchedReader(gone)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_unix_connection(lambda: protocol, str(self._path))
        client = GuardClient(reader, asyncio.StreamWriter(transport, protocol, reader, loop), self._pushed)
        try:
            self._on_identity(await self._within(client.call(Hello(os.getpid()), TlsIdentity)))
            self._client = client
            await gone.wait()
        finally:
            self._client = None
            self._on_lost()
            await client.close()

    async def _within(self, answer: Awaitable[_Expected]) -> _Expected:
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await answer
        except TimeoutError:
            raise GuardUnavailable(f"the guard did not answer within {self._answer_seconds:g} s") from None

    def _pushed(self, message: Response) -> None:
        if isinstance(message, TlsIdentity):
            self._on_identity(message)
        else:
            self._on_push(message)


def _ignore(_: object) -> None:
    return None


def _nothing() -> None:
    return None
