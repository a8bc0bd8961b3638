"""WADO-RS rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.7), through the cage.

Rules, in order:
1. An instance of several frames is shown by its first, as a thumbnail by the one in the middle; `Content-Location`
   says which. A study or series is shown by its first instance with pixels, alone: a Warning says so where others
   are left out.
2. A document or video is its own rendering: it leaves as it is, with Range.
3. A picture for a person carries who looked and when, visibly; a thumbnail is too small for that.
4. The wish is checked here in form and in the cage in substance. `annotation` of PS3.18 is answered with a Warning.
5. The header that the cage gets is the one that the view shows.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import Response

from ribcage.cage import RenderWish
from ribcage.cage.messages import MediaType, WindowFunction
from ribcage.dicom.json_model import bulk_value
from ribcage.dicom.scan import scan
from ribcage.guard.protocol import InstanceRef, Person, Session, WhoAmI
from ribcage.transfer.dicomweb.bulk import is_video, video_value
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import BadRequest, NotAcceptable, NotFound
from ribcage.transfer.dicomweb.frames import frame_source, parse_frames
from ribcage.transfer.dicomweb.leaving import (
    Leaving,
    accept_of,
    closing_on_failure,
    join_viewing,
    uids_of,
    viewing_of,
)
from ribcage.transfer.dicomweb.places import instance_url
from ribcage.transfer.dicomweb.principal import session_of
from ribcage.transfer.dicomweb.values import DOCUMENT, answer_value, header_value
from ribcage.usage.errors import NothingFound
from ribcage.usage.pixels import Pixels

PICTURES: Final[tuple[MediaType, ...]] = ("image/jpeg", "image/png", "image/gif")
_THUMBNAIL_PIXELS: Final = 256
_TRIED: Final = 8  # instances of a study or series that are looked at for a thumbnail
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{1,9})?")
_FUNCTIONS: Final = frozenset({"linear", "linear-exact", "sigmoid"})
_WARNING: Final = '299 ribcage "annotation is not supported; the picture carries who looked and when."'

_ONE_OF_SEVERAL: Final = (
    '299 ribcage "only the first instance with pixels is rendered; ask for each other by its address."'
)


class RenderedResources:
    """Handlers of …/rendered and …/thumbnail."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def instance(self, request: Request) -> Response:
        """GET …/instances/{instance}/rendered."""
        leaving = await join_viewing(self._context, request)
        async with closing_on_failure(leaving.stack):
            whole = await self._as_it_is(request, leaving)
            return whole or await self._picture(request, leaving, leaving.refs[0], 1)

    async def first(self, request: Request) -> Response:
        """GET …/rendered of a study or series (rule 1)."""
        return await self._first(request, 1, thumbnail=False)

    async def frame(self, request: Request) -> Response:
        """GET …/frames/{frame}/rendered."""
        number = _one_frame(request)
        leaving = await join_viewing(self._context, request)
        async with closing_on_failure(leaving.stack):
            return await self._picture(request, leaving, leaving.refs[0], number)

    async def thumbnail(self, request: Request) -> Response:
        """GET the thumbnail of a study, series, instance or frame."""
        number = _one_frame(request) if "frames" in request.path_params else 0
        return await self._first(request, number, thumbnail=True)

    async def _first(self, request: Request, number: int, *, thumbnail: bool) -> Response:
        """Of what the path names, the first with pixels (rule 1)."""
        leaving = await join_viewing(self._context, request)
        async with closing_on_failure(leaving.stack):
            for ref in leaving.refs[:_TRIED]:
                try:
                    answer = await self._picture(request, leaving, ref, number, thumbnail=thumbnail)
                except NothingFound:
                    continue
                if len(leaving.refs) > 1 and not thumbnail:
                    answer.headers.append("Warning", _ONE_OF_SEVERAL)
                return answer
        raise NotFound("expected an instance with pixels")

    async def _as_it_is(self, request: Request, leaving: Leaving) -> Response | None:
        """Rule 2."""
        ref = leaving.refs[0]
        stream = await viewing_of(leaving).stream(ref)
        if stream.opened.bulk_plain_bytes:
            pixels = await self._pixels(leaving, ref)
            if is_video(pixels):
                return answer_value(self._context, request, leaving, await video_value(pixels))
            return None
        scanned = await asyncio.to_thread(scan, stream.header, stream.transfer_syntax_uid)
        if bulk_value(scanned, DOCUMENT) is None:
            return None
        value = header_value(stream, scanned, DOCUMENT)
        if value.own_type == "application/octet-stream":
            raise NotAcceptable("expected a document of a known type; ask for its bulk data")
        return answer_value(self._context, request, leaving, value)

    async def _pixels(self, leaving: Leaving, ref: InstanceRef) -> Pixels:
        return await viewing_of(leaving).pixels(ref, self._context.limits.max_frame_bytes)

    async def _picture(
        self, request: Request, leaving: Leaving, ref: InstanceRef, number: int, *, thumbnail: bool = False
    ) -> Response:
        pixels = await self._pixels(leaving, ref)
        if is_video(pixels):
            raise NotAcceptable("expected an instance that is no video")
        number = number or (pixels.facts.frames + 1) // 2
        marks = () if thumbnail else await self._marks(request)
        wish = parse_wish(request, marks, thumbnail=thumbnail)
        frame = await pixels.locate(number)
        picture = await self._context.pictures().render(await frame_source(pixels, frame, number), wish)
        leaving.disclosure.count(ref.object_id, len(picture.data))
        place = instance_url("", uids_of(request)["study"], ref.series_instance_uid, ref.sop_instance_uid)
        kind = "thumbnail" if thumbnail else "rendered"
        headers = leaving.headers({
            "Content-Type": picture.media_type, "Content-Location": f"{place}/frames/{number}/{kind}",
        })  # fmt: skip
        if "annotation" in request.query_params:
            headers["Warning"] = _WARNING
        await leaving.stack.aclose()
        return Response(picture.data, headers=headers)

    async def _marks(self, request: Request) -> tuple[str, ...]:
        """Who looks and when (rule 3); a device has no face."""
        session = session_of(request)
        if not isinstance(session, Session):
            return ()
        person = await self._context.guard().call(WhoAmI(session=session), Person)
        return (f"{person.username} {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}",)


def parse_wish(request: Request, marks: tuple[str, ...], *, thumbnail: bool) -> RenderWish:
    """The rendering that is asked for (PS3.18 8.3.5). Raises BadRequest, NotAcceptable."""
    query = request.query_params
    media_type = next(
        (
            kind
            for entry in accept_of(request)
            for kind in PICTURES
            if entry.essence in (kind, "image/*", "*/*")
        ),
        None,
    )
    if media_type is None:
        raise NotAcceptable("expected image/jpeg, image/png or image/gif", tuple(PICTURES))
    window = None
    if "window" in query:
        parts = [*query["window"].split(","), "linear"]
        if len(parts) not in (3, 4) or parts[2].lower() not in _FUNCTIONS:
            raise BadRequest("expected window=center,width,function")
        window = (_number(parts[0]), _number(parts[1]), cast(WindowFunction, parts[2].lower()))
    viewport = tuple(_number(each) for each in query["viewport"].split(",")) if "viewport" in query else None
    if viewport is not None and len(viewport) not in (2, 6):
        raise BadRequest("expected viewport of 2 or 6 numbers")
    quality = query.get("quality")
    if quality is not None and not (quality.isascii() and quality.isdigit() and 1 <= len(quality) <= 3):
        raise BadRequest("expected quality of 1 to 100")
    return RenderWish(
        media_type=media_type,
        window=window,
        viewport=viewport,
        quality=None if quality is None else int(quality),
        annotation=marks,
        thumbnail_pixels=_THUMBNAIL_PIXELS if thumbnail else None,
    )


def _one_frame(request: Request) -> int:
    (number,) = parse_frames(request.path_params["frames"], 1)
    return number


def _number(text: str) -> float:
    if _DECIMAL.fullmatch(text) is None:
        raise BadRequest("expected a decimal number")
    return float(text)
