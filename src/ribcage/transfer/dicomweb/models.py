"""Metadata and search results as they leave: one JSON array, or one XML document in each part; gzip for programs.

Rules, in order:
1. Both forms come from the same JSON Model; XML is `dicom.native_model`.
2. gzip (RFC 9110 12.5.3) is given to programs alone: a certificate, and none of the fields by which a browser shows
   itself. Names of patients stand beside text that others chose, so the length of a compressed answer tells something
   to whoever can make a browser ask again and again (BREACH); a program asks for its owner alone.
3. Nothing but these two answers is compressed: pixels, pages and cookies' answers never are.
"""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

from starlette.requests import Request

from ribcage.transfer.dicomweb.negotiation import DICOM_XML, XML_PARTS
from ribcage.transfer.dicomweb.principal import peer_of
from ribcage.transfer.dicomweb.streaming import closing, new_boundary

_BROWSER: Final = ("cookie", "origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
_CODING: Final = re.compile(r"\s*(gzip|x-gzip|\*)\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?", re.IGNORECASE)
_MAX_FIELD_CHARS: Final = 1024
_LEVEL: Final = 4  # of a millisecond for each 100 KB
_GZIP_WINDOW: Final = 31


class ModelBody:
    """How one answer is written: its head, and the bytes around and between data sets."""

    def __init__(self, request: Request, media_type: str) -> None:
        self.xml = media_type == XML_PARTS
        self._boundary = new_boundary()
        self._gzip = takes_gzip(request)
        content_type = f"{XML_PARTS}; boundary={self._boundary}" if self.xml else media_type
        self.headers: Mapping[str, str] = {
            "Content-Type": content_type, "Vary": "Accept, Accept-Encoding",
            **({"Content-Encoding": "gzip"} if self._gzip else {}),
        }  # fmt: skip

    async def write(self, items: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """The body of these encoded data sets."""
        plain = self._parts(items) if self.xml else _array(items)
        async with contextlib.aclosing(_compressed(plain) if self._gzip else plain) as body:
            async for piece in body:
                yield piece

    async def _parts(self, items: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        head = f"\r\n--{self._boundary}\r\nContent-Type: {DICOM_XML}\r\n\r\n".encode("ascii")
        async for item in items:
            yield head + item
        yield closing(self._boundary)


async def _array(items: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    lead = b"["
    async for item in items:
        yield lead + item
        lead = b","
    yield b"]" if lead == b"," else b"[]"


async def _compressed(plain: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    engine = zlib.compressobj(_LEVEL, wbits=_GZIP_WINDOW)
    async with contextlib.aclosing(plain) as pieces:
        async for piece in pieces:
            if out := engine.compress(piece):
                yield out
        yield engine.flush()


def takes_gzip(request: Request) -> bool:
    """Whether this asker gets gzip (rule 2); anything unreadable counts as no."""
    field = request.headers.get("accept-encoding", "")[:_MAX_FIELD_CHARS]
    if not peer_of(request).fingerprint or any(name in request.headers for name in _BROWSER):
        return False
    found = {
        match[1].lower(): float(match[2] or 1)
        for each in field.split(",")
        if (match := _CODING.fullmatch(each)) is not None
    }
    return found.get("gzip", found.get("x-gzip", found.get("*", 0.0))) > 0
