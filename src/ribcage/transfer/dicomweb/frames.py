"""WADO-RS frames (PS3.18 10.4.1.1.6): as stored or uncompressed, in one part or several.

Rules, in order:
1. The frame list is numbers from 1, separated by commas; what is asked twice is sent twice.
2. All frames are located, and the first is in hand, before the status is sent.
3. A frame that must be decoded goes through the cage; what it cannot read is refused by its error's class.
4. Each frame counts in the viewing's closing entry with the bytes that left.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ribcage.cage import FrameSource
from ribcage.dicom.pixel_frames import Frame
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import BadRequest
from ribcage.transfer.dicomweb.frame_types import FrameForm, frame_form
from ribcage.transfer.dicomweb.leaving import Leaving, accept_of, closing_on_failure, join_viewing, viewing_of
from ribcage.transfer.dicomweb.streaming import StreamedResponse, closing, new_boundary
from ribcage.usage.pixels import Pixels

_LIST: Final = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*")


class FrameResources:
    """Handler of …/instances/{instance}/frames/{list}."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def frames(self, request: Request) -> Response:
        """GET frames of one instance."""
        limits = self._context.limits
        numbers = parse_frames(request.path_params["frames"], limits.max_frames)
        accept_of(request)
        leaving = await join_viewing(self._context, request)
        async with closing_on_failure(leaving.stack):
            pixels = await viewing_of(leaving).pixels(leaving.refs[0], limits.max_frame_bytes)
            return await answer_frames(self._context, request, leaving, pixels, numbers)


async def answer_frames(
    context: WebContext, request: Request, leaving: Leaving, pixels: Pixels, numbers: list[int]
) -> Response:
    """The answer for these frames. Raises NotAcceptable, NotFound, DisclosureError, CageError."""
    form = frame_form(accept_of(request), pixels.transfer_syntax_uid, single=len(numbers) == 1)
    if not form.decoded:
        pixels.require_masked_view()
    located = {number: await pixels.locate(number) for number in dict.fromkeys(numbers)}

    def send(number: int) -> AsyncIterator[bytes]:
        if form.decoded:
            return _decoded(context, pixels, located[number], number)
        return pixels.send(located[number])

    headers = {"Content-Type": form.media_type}
    if form.multipart:
        boundary = new_boundary()
        body = _multipart(leaving, send, numbers, form, boundary)
        kind = f'multipart/related; type="{form.essence}"; transfer-syntax={form.transfer_syntax_uid}'
        headers = {"Content-Type": f"{kind}; boundary={boundary}"}
    else:
        body = _single(leaving, send(numbers[0]))
        if not form.decoded:
            headers["Content-Length"] = str(pixels.size(located[numbers[0]]))
    return StreamedResponse(body, leaving.headers(headers), context.limits.send_stall_seconds)


async def frame_source(pixels: Pixels, frame: Frame, number: int) -> FrameSource:
    """What the cage needs of one frame; the header is the one that the view shows."""
    stream = pixels.stream
    return FrameSource(stream.header, stream.transfer_syntax_uid, await pixels.raw(frame), number - 1)


def parse_frames(text: str, most: int) -> list[int]:
    """A frame list. Raises BadRequest."""
    if _LIST.fullmatch(text) is None:
        raise BadRequest("expected frame numbers separated by commas")
    numbers = [int(each) for each in text.split(",")]
    if len(numbers) > most or 0 in numbers:
        raise BadRequest(f"expected at most {most} frame numbers, from 1")
    return numbers


async def _decoded(context: WebContext, pixels: Pixels, frame: Frame, number: int) -> AsyncIterator[bytes]:
    """One frame, uncompressed by the cage (rule 3), counted."""
    disclosure = pixels.stream.disclosure
    with disclosure.sending():
        native = await context.pictures().decode(await frame_source(pixels, frame, number))
        disclosure.count(pixels.stream.ref.object_id, len(native.data))
        yield native.data


async def _single(leaving: Leaving, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        async for piece in pieces:
            yield piece


async def _multipart(
    leaving: Leaving,
    send: Callable[[int], AsyncIterator[bytes]],
    numbers: list[int],
    form: FrameForm,
    boundary: str,
) -> AsyncGenerator[bytes, None]:
    head = f"\r\n--{boundary}\r\nContent-Type: {form.media_type}\r\n\r\n".encode("ascii")
    async with leaving.stack:
        for number in numbers:
            async for piece in _with_head(head, send(number)):
                yield piece
        yield closing(boundary)


async def _with_head(head: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The head of a part together with its first bytes (rule 2)."""
    async for piece in pieces:
        yield head + piece
        head = b""
    if head:
        yield head
