"""WADO-RS frames (PS3.18 10.4.1.1.6): as stored or uncompressed, in one part or several.

Rules, in order:
1. The frame list is numbers from 1, separated by commas; what is asked twice is sent twice.
2. All frames are located, and the first is in hand, before the status is sent.
3. A frame that must be decoded goes through the cage; what the cage cannot read is 422.
4. Each frame counts in the viewing's closing entry with the bytes that left.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ribcage.dicom.pixel_frames import Frame
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import BadRequest, NotAcceptable
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
        numbers = parse_frames(request.path_params["frames"], self._context.limits.max_frames)
        accepted = accept_of(request)
        leaving = await join_viewing(self._context, request)
        async with closing_on_failure(leaving.stack):
            ref = leaving.refs[0]
            form = frame_form(accepted, ref.transfer_syntax_uid, single=len(numbers) == 1)
            pixels = await viewing_of(leaving).pixels(ref, self._context.limits.max_frame_bytes)
            pixels.require_masked_view()
            if form.decoded:
                raise NotAcceptable("expected transfer-syntax=*")
            located = {number: await pixels.locate(number) for number in dict.fromkeys(numbers)}
        frames = [located[number] for number in numbers]
        if form.multipart:
            boundary = new_boundary()
            body = _multipart(leaving, pixels, frames, form, boundary)
            kind = f'multipart/related; type="{form.essence}"; transfer-syntax={form.transfer_syntax_uid}'
            headers = {"Content-Type": f"{kind}; boundary={boundary}"}
        else:
            body = _single(leaving, pixels, frames[0])
            headers = {"Content-Type": form.media_type, "Content-Length": str(pixels.size(frames[0]))}
        return StreamedResponse(body, leaving.headers(headers), self._context.limits.send_stall_seconds)


def parse_frames(text: str, most: int) -> list[int]:
    """A frame list. Raises BadRequest."""
    if _LIST.fullmatch(text) is None:
        raise BadRequest("expected frame numbers separated by commas")
    numbers = [int(each) for each in text.split(",")]
    if len(numbers) > most or 0 in numbers:
        raise BadRequest(f"expected at most {most} frame numbers, from 1")
    return numbers


async def _single(leaving: Leaving, pixels: Pixels, frame: Frame) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        async for piece in pixels.send(frame):
            yield piece


async def _multipart(
    leaving: Leaving, pixels: Pixels, frames: list[Frame], form: FrameForm, boundary: str
) -> AsyncGenerator[bytes, None]:
    head = f"\r\n--{boundary}\r\nContent-Type: {form.media_type}\r\n\r\n".encode("ascii")
    async with leaving.stack:
        for frame in frames:
            async for piece in _with_head(head, pixels.send(frame)):
                yield piece
        yield closing(boundary)


async def _with_head(head: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The head of a part together with its first bytes (rule 2)."""
    async for piece in pieces:
        yield head + piece
        head = b""
    if head:
        yield head
