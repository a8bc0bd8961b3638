"""WADO-RS bulk data (PS3.18 10.4.1.1.5): every BulkDataURI that metadata names is answered here.

Rules, in order:
1. The path is the one that `dicom.json_model` gave: tags, and item numbers from 0, joined by `/`.
2. Native pixels are one value. Video is one value of its own type. Other compressed pixels are frames, each a part;
   one frame may be had as a single part.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from ribcage.dicom.pixel_frames import Frame, Span, native_frame
from ribcage.dicom.scan import BULK_TAGS, scan
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import NotFound, TooLarge
from ribcage.transfer.dicomweb.frame_types import OCTETS, TYPE_OF_SYNTAX
from ribcage.transfer.dicomweb.frames import answer_frames
from ribcage.transfer.dicomweb.leaving import Leaving, closing_on_failure, join_viewing, viewing_of
from ribcage.transfer.dicomweb.values import Value, answer_value, header_value, in_memory, in_spans
from ribcage.usage.pixels import Pixels

_PIXELS = frozenset(f"{tag:08X}" for tag in BULK_TAGS)


class BulkResources:
    """Handler of …/instances/{instance}/bulkdata/{path}."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def bulk(self, request: Request) -> Response:
        """GET one value."""
        path = request.path_params["path"]
        leaving = await join_viewing(self._context, request)
        async with closing_on_failure(leaving.stack):
            if path in _PIXELS:
                return await self._pixels(request, leaving, path)
            stream = await viewing_of(leaving).stream(leaving.refs[0])
            scanned = await asyncio.to_thread(scan, stream.header, stream.transfer_syntax_uid)
            value = header_value(stream, scanned, path)
            return answer_value(self._context, request, leaving, value)

    async def _pixels(self, request: Request, leaving: Leaving, path: str) -> Response:
        limits = self._context.limits
        pixels = await viewing_of(leaving).pixels(leaving.refs[0], limits.max_frame_bytes)
        if f"{pixels.element.tag:08X}" != path:
            raise NotFound("expected the address of the pixels, as metadata names it")
        if not pixels.element.encapsulated:
            return answer_value(self._context, request, leaving, await _native(pixels))
        if is_video(pixels):
            return answer_value(self._context, request, leaving, await video_value(pixels))
        if pixels.facts.frames > limits.max_frames:
            raise TooLarge("expected fewer frames; ask for them as frames")
        numbers = list(range(1, pixels.facts.frames + 1))
        return await answer_frames(self._context, request, leaving, pixels, numbers)


def is_video(pixels: Pixels) -> bool:
    """Whether the fragments are a video stream."""
    return TYPE_OF_SYNTAX.get(pixels.transfer_syntax_uid, OCTETS).startswith("video/")


async def video_value(pixels: Pixels) -> Value:
    """The video stream. Raises MaskedViewRefused, FrameUnreadable."""
    pixels.require_masked_view()
    return in_spans(pixels, TYPE_OF_SYNTAX[pixels.transfer_syntax_uid], await pixels.fragments())


async def _native(pixels: Pixels) -> Value:
    element = pixels.element
    span = Span(element.value, element.length)
    if element.little or element.vr == "OB":
        return in_spans(pixels, OCTETS, (span,))
    whole = Frame((span,), element.length * 8)
    return in_memory(pixels.stream, OCTETS, native_frame(await pixels.raw(whole), whole, element))
