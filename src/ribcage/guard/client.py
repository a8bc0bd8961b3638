"""The guard as everybody else sees it: one connection, many calls in flight."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from ribcage.guard.errors import GuardRefused, GuardUnavailable, ProtocolFailure
from ribcage.guard.frames import Decoder, encode
from ribcage.guard.protocol import Answer, Call, Refused, Request, Response

_READ_BYTES = 256 * 1024
_Expected = TypeVar("_Expected")
Push = Callable[[Response], None]


def expect(answer: Response, expected: type[_Expected]) -> _Expected:
    """The answer as what it has to be. Raises ProtocolFailure."""
    if isinstance(answer, expected):
        return answer
    raise ProtocolFailure(f"expected {expected.__name__}, got {type(answer).__name__}")


class GuardClient:
    """A connection to the guard's Unix socket. Use `connect`, then `call` from any task of the same loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, push: Push | None) -> None:
        self._reader = reader
        self._writer = writer
        self._push = push
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._next_id = 1
        self._closed = False
        self._pump = asyncio.get_running_loop().create_task(self._receive())

    @classmethod
    async def connect(cls, path: Path, push: Push | None = None) -> GuardClient:
        """Connect to `path`; `push` gets unsolicited messages. Raises GuardUnavailable."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(path))
        except OSError as failure:
            raise GuardUnavailable(
                "the guard does not answer on its socket; is `ribcage serve` running?"
            ) from failure
        return cls(reader, writer, push)

    @property
    def closed(self) -> bool:
        """True once the connection is gone."""
        return self._closed

    async def call(self, request: Request, expected: type[_Expected]) -> _Expected:
        """Ask and wait. Raises GuardRefused, GuardUnavailable, ProtocolFailure (unexpected answer)."""
        return expect(await self.ask(request), expected)

    async def ask(self, request: Request) -> Response:
        """Like `call` for requests that have several good answers. Raises GuardRefused, GuardUnavailable."""
        if self._closed:
            raise GuardUnavailable("the connection to the guard is closed")
        number = self._next_id
        self._next_id += 1
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(encode(Call(number, request)))
            answer = await future
        finally:
            self._waiting.pop(number, None)
        if isinstance(answer, Refused):
            raise GuardRefused(answer.reason, answer.entry, answer.decided_microseconds, answer.retry_seconds)
        return answer

    async def close(self) -> None:
        """Close the connection; calls in flight fail with GuardUnavailable."""
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
        self._fail()
        self._writer.close()

    async def _receive(self) -> None:
        decoder = Decoder(Answer)
        try:
            while data := await self._reader.read(_READ_BYTES):
                for frame in decoder.feed(data):
                    self._deliver(cast(Answer, frame))
        except (OSError, ProtocolFailure):
            self._writer.close()
        finally:
            self._fail()

    def _deliver(self, answer: Answer) -> None:
        if answer.id == 0:
            if self._push is not None:
                self._push(answer.body)
            return
        future = self._waiting.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer.body)

    def _fail(self) -> None:
        self._closed = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(GuardUnavailable("the guard went away"))
