"""WADO-RS: instances and their metadata, out through `usage.disclose` alone (PS3.18 10.4).

Rules, in order:
1. What the peer accepts is known before the disclosure is asked for. In the full view an instance leaves in an
   uncompressed syntax where the stored one is not accepted (`usage.transcode`), with file meta information of ours;
   what can leave in no accepted syntax ends in 406 before a byte is read.
2. The disclosure or viewing is held exactly as long as the answer, also when the peer goes away or the guard cuts it.
3. Metadata names bulk values by addresses that this archive answers, in the masked view only what masking kept.
4. File names in a download are ordinals.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ribcage.dicom.convert import SOURCES
from ribcage.dicom.json_model import BulkLocator
from ribcage.dicom.part10 import file_prefix
from ribcage.dicom.transfer_syntaxes import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
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
from ribcage.transfer.dicomweb.metadata import data_set_model
from ribcage.transfer.dicomweb.models import ModelBody
from ribcage.transfer.dicomweb.negotiation import DICOM, choose_syntaxes, file_forms, require_model
from ribcage.transfer.dicomweb.places import instance_url
from ribcage.transfer.dicomweb.streaming import StreamedResponse, closing, new_boundary, part_head, zip_stream
from ribcage.usage.disclose import InstanceStream
from ribcage.usage.transcode import can_transcode, transcoded

_TARGETS: Final = (EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


class RetrieveResources:
    """Handlers of study, series and instance, their metadata, and the download for people."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def instances(self, request: Request) -> Response:
        """GET a study, series or instance as multipart/related of DICOM files."""
        one = "instance" in request.path_params
        forms = file_forms(accept_of(request), single=one)
        if one:
            leaving = await join_viewing(self._context, request, files=True)
        else:
            leaving = await open_own(self._context, request)
        async with closing_on_failure(leaving.stack):
            stored = [ref.transfer_syntax_uid for ref in leaving.refs]
            form, syntaxes = choose_syntaxes(forms, stored, self._convertible(leaving))
        files = self._files(leaving, syntaxes)
        if not form.multipart:
            return self._stream(_single(leaving, files), leaving, f"{DICOM}; transfer-syntax={syntaxes[0]}")
        boundary = new_boundary()
        media_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return self._stream(_multipart(leaving, files, boundary), leaving, media_type)

    def _convertible(self, leaving: Leaving) -> Callable[[str, str], bool]:
        """Whether an instance stored in one syntax may leave in another (PS3.18 8.7.3.5: not in Implicit VR)."""

        def convertible(stored: str, target: str) -> bool:
            able = target in _TARGETS and leaving.disclosure.view in ("full", "original")
            return (
                able
                and can_transcode(stored, target)
                and (stored in SOURCES or self._context.cage is not None)
            )

        return convertible

    async def _files(
        self, leaving: Leaving, syntaxes: list[str]
    ) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """Each file that leaves: its transfer syntax, its bytes."""
        for ref, syntax in zip(leaving.refs, syntaxes, strict=True):
            stream = await leaving.disclosure.instance_stream(ref)
            converted = syntax != stream.transfer_syntax_uid
            yield syntax, self._converted(stream, syntax) if converted else stream.parts()

    async def _converted(self, stream: InstanceStream, syntax: str) -> AsyncIterator[bytes]:
        ref = stream.ref
        prefix = file_prefix(ref.sop_class_uid, ref.sop_instance_uid, syntax)
        async for part in transcoded(stream, syntax, self._context.cage):
            if prefix:
                stream.disclosure.count(ref.object_id, len(prefix))
                yield prefix
                prefix = b""
            yield part

    async def metadata(self, request: Request) -> Response:
        """GET the metadata of a study, series or instance as DICOM JSON or XML (PS3.18 10.4.1.1.2)."""
        media_type = require_model(accept_of(request))
        leaving = await join_viewing(self._context, request)
        async with closing_on_failure(leaving.stack):
            if len(leaving.refs) > self._context.limits.max_metadata_instances:
                raise TooLarge("expected a study within the limit of metadata; ask series by series")
        study, origin = uids_of(request)["study"], origin_of(request)

        def locator(ref: InstanceRef) -> BulkLocator:
            place = instance_url(origin, study, ref.series_instance_uid, ref.sop_instance_uid)
            return lambda path: f"{place}/bulkdata/{'/'.join(map(str, path))}"

        body = ModelBody(request, media_type)
        return StreamedResponse(
            body.write(_metadata(leaving, locator, xml=body.xml)), leaving.headers(body.headers),
            self._context.limits.send_stall_seconds, leaving.status,
        )  # fmt: skip

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


async def _multipart(
    leaving: Leaving, files: AsyncIterator[tuple[str, AsyncIterator[bytes]]], boundary: str
) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        async for syntax, parts in files:
            head = part_head(boundary, syntax)
            async for (
                part
            ) in parts:  # the head waits for the first bytes: what fails before them has a status
                yield head + part if head else part
                head = b""
        yield closing(boundary)


async def _single(
    leaving: Leaving, files: AsyncIterator[tuple[str, AsyncIterator[bytes]]]
) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        async for _, parts in files:
            async for part in parts:
                yield part


async def _metadata(
    leaving: Leaving, locator: Callable[[InstanceRef], BulkLocator], *, xml: bool
) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        for ref in leaving.refs:
            stream = await leaving.disclosure.instance_stream(ref)
            item = await data_set_model(stream, locator(ref), xml=xml)
            leaving.disclosure.count(ref.object_id, len(item))
            yield item


async def _zip(leaving: Leaving) -> AsyncGenerator[bytes, None]:
    async def files() -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        for number, ref in enumerate(leaving.refs, 1):
            stream = await leaving.disclosure.instance_stream(ref)
            yield f"{number:06d}.dcm", stream.parts()

    async with leaving.stack:
        async for piece in zip_stream(files()):
            yield piece
