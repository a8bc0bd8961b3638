"""Values on their way out: bulk data, documents, video; whole or a range, in one part or multipart.

Rules, in order:
1. A value is found in the header as the view shows it: what masking removed has no address (DESIGN rule 7).
2. Binary values are `application/octet-stream`, little endian; a document or video may also be had as its own type,
   from a closed list: nothing that a browser would run.
3. A single part knows its length and answers one Range (RFC 9110 14); multipart has one part.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ribcage.dicom.json_model import bulk_value
from ribcage.dicom.pixel_frames import Span
from ribcage.dicom.rewrite import swap_words
from ribcage.dicom.scan import Scan
from ribcage.dicom.values import is_little, text_values
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import NotAcceptable, NotFound
from ribcage.transfer.dicomweb.frame_types import OCTETS
from ribcage.transfer.dicomweb.leaving import Leaving, accept_of
from ribcage.transfer.dicomweb.negotiation import MediaType
from ribcage.transfer.dicomweb.ranges import parse_range
from ribcage.transfer.dicomweb.streaming import StreamedResponse, closing, new_boundary
from ribcage.usage.disclose import InstanceStream
from ribcage.usage.pixels import Pixels

DOCUMENT: Final = "00420011"
_DOCUMENT_TYPE: Final = 0x00420012
DOCUMENT_TYPES: Final = frozenset({"application/pdf", "model/stl", "model/obj", "model/mtl"})
_PIECE_BYTES: Final = 1024 * 1024

Pieces = Callable[[int, int], AsyncIterator[bytes]]  # offset and count


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its own media type, its length, and any range of it as counted pieces."""

    own_type: str
    length: int
    pieces: Pieces


def header_value(stream: InstanceStream, scanned: Scan, path: str) -> Value:
    """A binary value of the header as the view shows it. Raises NotFound."""
    found = bulk_value(scanned, path)
    if found is None:
        raise NotFound("expected the address of a binary value, as metadata names it")
    vr, element = found
    raw = scanned.value(element)
    data = raw if element.vr == "UN" or is_little(element.encoding) else swap_words(raw, vr)
    own_type = _document_type(scanned) if path == DOCUMENT else OCTETS
    return in_memory(stream, own_type, data)


def in_memory(stream: InstanceStream, own_type: str, data: bytes) -> Value:
    """A value that is held whole."""

    async def pieces(offset: int, count: int) -> AsyncIterator[bytes]:
        with stream.disclosure.sending():
            for start in range(offset, offset + count, _PIECE_BYTES):
                piece = data[start : min(start + _PIECE_BYTES, offset + count)]
                stream.disclosure.count(stream.ref.object_id, len(piece))
                yield piece

    return Value(own_type, len(data), pieces)


def in_spans(pixels: Pixels, own_type: str, spans: tuple[Span, ...]) -> Value:
    """A value that lies in spans of the bulk stream."""

    def pieces(offset: int, count: int) -> AsyncIterator[bytes]:
        return pixels.send_spans(cut_spans(spans, offset, count))

    return Value(own_type, sum(span.length for span in spans), pieces)


def cut_spans(spans: tuple[Span, ...], offset: int, count: int) -> tuple[Span, ...]:
    """The spans of a range of what they hold together."""
    found = []
    for span in spans:
        skip = min(offset, span.length)
        take = min(count, span.length - skip)
        if take:
            found.append(Span(span.offset + skip, take))
        offset -= skip
        count -= take
    return tuple(found)


def answer_value(context: WebContext, request: Request, leaving: Leaving, value: Value) -> Response:
    """The answer for one value (rules 2 and 3). Raises NotAcceptable, RangeUnsatisfiable."""
    essence, multipart = _form(accept_of(request), value.own_type)
    stall = context.limits.send_stall_seconds
    if multipart:
        boundary = new_boundary()
        body = _multipart(leaving, value, essence, boundary)
        media_type = f'multipart/related; type="{essence}"; boundary={boundary}'
        return StreamedResponse(body, leaving.headers({"Content-Type": media_type}), stall)
    part = parse_range(request.headers.get("range"), value.length)
    offset, count = part or (0, value.length)
    headers = {"Content-Type": essence, "Content-Length": str(count), "Accept-Ranges": "bytes"}
    if part is not None:
        headers["Content-Range"] = f"bytes {offset}-{offset + count - 1}/{value.length}"
    body = _single(leaving, value.pieces(offset, count))
    return StreamedResponse(body, leaving.headers(headers), stall, 200 if part is None else 206)


def _form(entries: list[MediaType], own: str) -> tuple[str, bool]:
    """Media type, and whether it is multipart."""
    for entry in entries:
        multipart = entry.essence in ("multipart/related", "multipart/*")
        kind = entry.parameters.get("type", "*/*").lower() if multipart else entry.essence
        if kind in (own, "*/*", f"{own.split('/')[0]}/*"):
            return own, multipart
        if kind in (OCTETS, "application/*"):
            return OCTETS, multipart
    raise NotAcceptable("expected application/octet-stream or the value's own media type", (OCTETS,))


def _document_type(scanned: Scan) -> str:
    element = scanned.find(_DOCUMENT_TYPE)
    texts = [] if element is None else text_values(scanned.value(element)[:256], "LO")
    return texts[0].lower() if texts and texts[0].lower() in DOCUMENT_TYPES else OCTETS


async def _single(leaving: Leaving, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        async for piece in pieces:
            yield piece


async def _multipart(
    leaving: Leaving, value: Value, essence: str, boundary: str
) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        yield f"\r\n--{boundary}\r\nContent-Type: {essence}\r\n\r\n".encode("ascii")
        async for piece in value.pieces(0, value.length):
            yield piece
        yield closing(boundary)
