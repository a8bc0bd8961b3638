"""Answers that are streams: multipart of files, one JSON array, one ZIP; cut where the source is cut.

Rules, in order:
1. The first piece is awaited before the status is sent, so that what can be refused is refused with a status.
2. The reader's leaving, or taking nothing for too long, ends the source: it closes its disclosure itself.
3. A stream whose source fails never gets its last chunk: the peer sees that it is incomplete.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ribcage.transfer.dicomweb.errors import ClientGone

_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)


class StreamedResponse(Response):
    """An answer whose body is an async generator of bytes, which is closed in every case."""

    def __init__(
        self,
        body: AsyncGenerator[bytes, None],
        headers: Mapping[str, str],
        stall_seconds: float,
        status: int = 200,
    ) -> None:
        super().__init__(status_code=status)
        self._source = body
        self._stall_seconds = stall_seconds
        self.raw_headers = [
            (name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises what the source raises, and ClientGone."""
        gone = asyncio.get_running_loop().create_task(_until_gone(receive))
        try:
            async with contextlib.aclosing(self._source) as source:
                piece = await anext(source, b"")
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
                while True:
                    await self._send(send, piece, gone)
                    try:
                        piece = await anext(source)
                    except StopAsyncIteration:
                        break
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    async def _send(self, send: Send, piece: bytes, gone: asyncio.Task[None]) -> None:
        if gone.done():
            raise ClientGone
        try:
            async with asyncio.timeout(self._stall_seconds):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError as failure:
            raise ClientGone from failure


async def _until_gone(receive: Receive) -> None:
    """Return when the peer has closed the connection; a body that is still to come is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


def new_boundary() -> str:
    """A boundary that no file contains but by a chance of 2^-128."""
    return secrets.token_hex(16)


def part_head(boundary: str, transfer_syntax_uid: str) -> bytes:
    """Delimiter and head of one part (PS3.18 8.7.3)."""
    return (
        f"\r\n--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={transfer_syntax_uid}\r\n\r\n"
    ).encode("ascii")


def closing(boundary: str) -> bytes:
    """The close-delimiter."""
    return f"\r\n--{boundary}--\r\n".encode("ascii")


class _Sink(io.RawIOBase):
    """Takes what zipfile writes until it is taken away; cannot seek, so that zipfile writes forwards only."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: object) -> int:
        """Keep `data`."""
        piece = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._held += piece
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last call."""
        held, self._held = bytes(self._held), bytearray()
        return held


async def zip_stream(files: AsyncIterator[tuple[str, AsyncIterator[bytes]]]) -> AsyncGenerator[bytes, None]:
    """A ZIP of uncompressed files, made while it is read. Names must hold no personal data."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        async for name, pieces in files:
            with archive.open(zipfile.ZipInfo(name, _ZIP_DATE), "w", force_zip64=True) as entry:
                async for piece in pieces:
                    entry.write(piece)
                    yield sink.take()
            yield sink.take()
    yield sink.take()
