"""WADO-RS: instances and their metadata, out through `usage.disclose` alone (PS3.18 10.4).

Rules, in order:
1. What the peer accepts is known before the disclosure is asked for; a stored transfer syntax it does not accept
   ends in 406 before a byte is read. Objects leave as stored in this version: nothing is transcoded.
2. The disclosure or viewing is held exactly as long as the answer, also when the peer goes away or the guard cuts it.
3. Metadata names bulk values by addresses that this archive answers, in the masked view only what masking kept.
4. File names in a download are ordinals.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import Response

from ribcage.dicom.json_model import BulkLocator
from ribcage.guard.protocol import InstanceRef
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import TooLarge
from ribcage.transfer.dicomweb.headers import origin_of
from ribcage.transfer.dicomweb.leaving import (
    Leaving,
    accept_of,
    closing_on_failure,
    join_viewing,
    open_own,
    uids_of,
)
from ribcage.transfer.dicomweb.metadata import data_set_json
from ribcage.transfer.dicomweb.negotiation import acceptable_syntaxes, require_json, require_syntaxes
from ribcage.transfer.dicomweb.places import instance_url
from ribcage.transfer.dicomweb.streaming import StreamedResponse, closing, new_boundary, part_head, zip_stream


class RetrieveResources:
    """Handlers of study, series and instance, their metadata, and the download for people."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def instances(self, request: Request) -> Response:
        """GET a study, series or instance as multipart/related of DICOM files."""
        accepted = acceptable_syntaxes(accept_of(request))
        if "instance" in request.path_params:
            leaving = await join_viewing(self._context, request, files=True)
        else:
            leaving = await open_own(self._context, request)
        async with closing_on_failure(leaving.stack):
            require_syntaxes(accepted, (ref.transfer_syntax_uid for ref in leaving.refs))
        boundary = new_boundary()
        media_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return self._stream(_multipart(leaving, boundary), leaving, media_type)

    async def metadata(self, request: Request) -> Response:
        """GET the metadata of a study, series or instance as DICOM JSON (PS3.18 10.4.1.1.2)."""
        media_type = require_json(accept_of(request))
        leaving = await join_viewing(self._context, request)
        async with closing_on_failure(leaving.stack):
            if len(leaving.refs) > self._context.limits.max_metadata_instances:
                raise TooLarge("expected a study within the limit of metadata; ask series by series")
        study, origin = uids_of(request)["study"], origin_of(request)

        def locator(ref: InstanceRef) -> BulkLocator:
            place = instance_url(origin, study, ref.series_instance_uid, ref.sop_instance_uid)
            return lambda path: f"{place}/bulkdata/{'/'.join(map(str, path))}"

        return self._stream(_metadata(leaving, locator), leaving, media_type)

    async def download(self, request: Request) -> Response:
        """GET a study as a ZIP of DICOM files, for the link on the page."""
        leaving = await open_own(self._context, request)
        named = {"Content-Disposition": 'attachment; filename="images.zip"'}
        return self._stream(_zip(leaving), leaving, "application/zip", named)

    def _stream(
        self,
        body: AsyncGenerator[bytes, None],
        leaving: Leaving,
        media_type: str,
        more: dict[str, str] | None = None,
    ) -> StreamedResponse:
        headers = leaving.headers({"Content-Type": media_type, **(more or {})})
        return StreamedResponse(body, headers, self._context.limits.send_stall_seconds, leaving.status)


async def _multipart(leaving: Leaving, boundary: str) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        for ref in leaving.refs:
            stream = await leaving.disclosure.instance_stream(ref)
            yield part_head(boundary, stream.transfer_syntax_uid)
            async for part in stream.parts():
                yield part
        yield closing(boundary)


async def _metadata(
    leaving: Leaving, locator: Callable[[InstanceRef], BulkLocator]
) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        lead = b"["
        for ref in leaving.refs:
            stream = await leaving.disclosure.instance_stream(ref)
            item = await data_set_json(stream, locator(ref))
            leaving.disclosure.count(ref.object_id, len(item))
            yield lead + item
            lead = b","
        yield b"]"


async def _zip(leaving: Leaving) -> AsyncGenerator[bytes, None]:
    async def files() -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        for number, ref in enumerate(leaving.refs, 1):
            stream = await leaving.disclosure.instance_stream(ref)
            yield f"{number:06d}.dcm", stream.parts()

    async with leaving.stack:
        async for piece in zip_stream(files()):
            yield piece
