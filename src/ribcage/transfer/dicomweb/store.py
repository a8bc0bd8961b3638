"""STOW-RS: every part of the body goes through `capture.admit`, one after the other (PS3.18 10.5).

Rules, in order:
1. Nobody is read from before he is somebody: principal, Content-Type and sizes are checked first.
2. One part is held at a time, its bytes counted against the front's budget.
3. Each part stands alone: one that fails is reported, the others are stored. A refusal of the asker himself
   (401, 403, 429, 503) before anything was stored ends the request.
4. An object of the masked view that was given its patient is stored with a warning; the answer holds UIDs alone.
5. A body that is cut or malformed after instances were stored is answered 202: they are durable.
6. `IngestClosed` is sent however the request ends.
7. Metadata that comes apart from its bulk data becomes files first (`store_models`), which enter alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ribcage.capture.admit import admit_file
from ribcage.capture.disarm import Expected
from ribcage.capture.errors import AdmissionError
from ribcage.guard.protocol import IngestClosed, IngestNoted, Principal
from ribcage.transfer.dicomweb import store_response as answers
from ribcage.transfer.dicomweb.bodies import iter_body
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import (
    BadRequest,
    ClientGone,
    TooLarge,
    TooSlow,
    UnsupportedMedia,
    WebError,
)
from ribcage.transfer.dicomweb.headers import origin_of, promise_header, to_web_error
from ribcage.transfer.dicomweb.leaving import accept_of
from ribcage.transfer.dicomweb.multipart import Event, MultipartLimits, MultipartParser, PartData, PartStart
from ribcage.transfer.dicomweb.negotiation import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    STORED,
    parse_media_type,
    require_response,
)
from ribcage.transfer.dicomweb.places import SERVICE
from ribcage.transfer.dicomweb.principal import identify
from ribcage.transfer.dicomweb.qido import check_uid
from ribcage.transfer.dicomweb.store_models import ModelParts
from ribcage.transfer.dicomweb.store_response import Named, StoreReport

_ENDING: Final = frozenset({401, 403, 429, 503, 507})  # rule 3
_DRAIN_BYTES: Final = 4 * 1024 * 1024  # read and dropped, so that a refused sender sees the answer
_DRAIN_SECONDS: Final = 2.0


class StoreResources:
    """Handlers of POST /studies and /studies/{study}."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def store(self, request: Request) -> Response:
        """Store the instances of one request."""
        principal = identify(request)
        media_type = require_response(accept_of(request))
        study = check_uid(request.path_params["study"]) if "study" in request.path_params else ""
        root, boundary = _root(request)
        parser = MultipartParser(boundary, self._part_limits())
        limits = self._context.limits
        body = iter_body(request, limits.max_store_bytes, limits.body_idle_seconds)
        report = StoreReport()
        try:
            if root == DICOM:
                await self._store_parts(_events(body, parser), principal, study, report)
            else:
                await self._store_models(root, _events(body, parser), principal, study, report)
        except WebError:
            if not report.stored:
                await _drain(body)
                raise
            report.unnamed.append(answers.CANNOT_UNDERSTAND)  # rule 5
            await _drain(body)
        finally:
            promise = await self._close(principal, report)
        if not report.stored and not report.failures:
            raise BadRequest("expected at least one part")
        content = answers.encode(report, origin_of(request) + SERVICE, xml=media_type == DICOM_XML)
        return Response(
            content,
            status_code=report.status,
            headers={"Content-Type": media_type, **promise_header(promise)},
        )

    def _part_limits(self) -> MultipartLimits:
        limits = self._context.limits
        return MultipartLimits(
            limits.max_parts, limits.max_instance_bytes, limits.max_part_head_bytes, limits.max_preamble_bytes
        )

    async def _store_parts(
        self, events: AsyncIterator[Event], principal: Principal, study: str, report: StoreReport
    ) -> None:
        """Gather one part after the other and admit it (rules 2 and 3)."""
        with self._context.budget.hold() as budget:
            part = bytearray()
            taken = True
            async for event in events:
                if isinstance(event, PartStart):
                    part, taken = bytearray(), _is_dicom(event.headers.get("content-type"))
                elif isinstance(event, PartData):
                    if taken:
                        budget.take(len(event.data))
                        part += event.data
                elif taken:
                    await self._admit(part, principal, study, report)
                    budget.give_back()
                else:
                    report.unnamed.append(answers.CANNOT_UNDERSTAND)

    async def _store_models(
        self, root: str, events: AsyncIterator[Event], principal: Principal, study: str, report: StoreReport
    ) -> None:
        """Make files of metadata and bulk data and admit them (rule 7)."""

        async def admit(file: bytearray) -> None:
            await self._admit(file, principal, study, report)

        with self._context.budget.hold() as budget:
            await ModelParts(root, self._context.limits, budget, admit, report).take(events)

    async def _admit(self, file: bytearray, principal: Principal, study: str, report: StoreReport) -> None:
        """Admit one file and note what became of it. Raises WebError where the asker himself is refused."""
        try:
            admission = await admit_file(
                self._context.way_in(), principal, "dicomweb", file, Expected(study_instance_uid=study)
            )
        except AdmissionError as failure:
            error = to_web_error(failure)
            if error.status in _ENDING and not report.stored:
                raise error from failure
            if failure.sop_instance_uid:
                named = Named(failure.sop_class_uid, failure.sop_instance_uid)
                report.failed.append((named, failure.dimse_status))
            else:
                report.unnamed.append(failure.dimse_status)
            return
        report.stored.append(
            Named(
                admission.sop_class_uid,
                admission.sop_instance_uid,
                admission.study_instance_uid,
                admission.series_instance_uid,
                answers.COERCED if admission.coerced else 0,
            )
        )

    async def _close(self, principal: Principal, report: StoreReport) -> bytes:
        """The closing entry (rule 6) and its promise; shielded, since the peer may have gone."""
        if report.stored or report.failures:
            closed = IngestClosed(
                principal=principal, channel="dicomweb", studies=report.studies(), failed=report.failures
            )
            noted = await asyncio.shield(self._context.guard().call(closed, IngestNoted))
            return noted.promise
        return b""


def _root(request: Request) -> tuple[str, str]:
    """Root type and boundary of a multipart/related body. Raises UnsupportedMedia, BadRequest."""
    media_type = parse_media_type(request.headers.get("content-type", ""))
    root = media_type.parameters.get("type", "").lower()
    if media_type.essence != "multipart/related" or root not in (DICOM, DICOM_JSON, DICOM_XML):
        raise UnsupportedMedia("expected multipart/related of DICOM files or metadata", STORED)
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMedia("expected a body without content coding", STORED)
    boundary = media_type.parameters.get("boundary", "")
    if not boundary:
        raise BadRequest("expected a boundary in Content-Type (RFC 2046 5.1)")
    return root, boundary


def _is_dicom(content_type: str | None) -> bool:
    """Whether a part says it is a DICOM file; one that says nothing inherits the root type (RFC 2387 3.1)."""
    if content_type is None:
        return True
    try:
        return parse_media_type(content_type).essence == DICOM
    except UnsupportedMedia:
        return False


async def _events(body: AsyncIterator[bytes], parser: MultipartParser) -> AsyncIterator[Event]:
    """Multipart events of a body; its end is checked. Raises WebError."""
    async for piece in body:
        for event in parser.feed(piece):
            yield event
    parser.finish()


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Drop a little more of a refused body: a sender that still writes may otherwise miss the answer."""
    dropped = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in body:
                dropped += len(piece)
                if dropped > _DRAIN_BYTES:
                    return
    except (TimeoutError, TooLarge, TooSlow, ClientGone):
        return
