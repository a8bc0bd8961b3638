"""The search resources: QIDO-RS over the guard's `Query`, whose durable entry precedes every answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import Response

from ribcage.dicom.json_model import Json
from ribcage.dicom.native_model import to_native_model
from ribcage.guard.protocol import Principal, Purpose, Query, QueryAnswer
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.headers import origin_of, promise_header
from ribcage.transfer.dicomweb.leaving import accept_of
from ribcage.transfer.dicomweb.models import ModelBody
from ribcage.transfer.dicomweb.negotiation import require_model
from ribcage.transfer.dicomweb.places import SERVICE
from ribcage.transfer.dicomweb.principal import identify, purpose_of
from ribcage.transfer.dicomweb.qido import Level, Search, encode_record, parse_search

_FUZZY_WARNING: Final = (
    '299 ribcage "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
)
_MORE_WARNING: Final = '299 ribcage "There are additional results that can be requested with offset."'
_PATH_KEYS: Final[Mapping[str, str]] = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}


class SearchResources:
    """Handlers of /studies, /series, /instances and their nested forms (PS3.18 10.6)."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def studies(self, request: Request) -> Response:
        """GET /studies."""
        return await self._search(request, "study")

    async def series(self, request: Request) -> Response:
        """GET /series and /studies/{study}/series."""
        return await self._search(request, "series")

    async def instances(self, request: Request) -> Response:
        """GET /instances and the forms below a study and a series."""
        return await self._search(request, "instance")

    async def _search(self, request: Request, level: Level) -> Response:
        principal = identify(request)
        body = ModelBody(request, require_model(accept_of(request)))
        above = {
            keyword: request.path_params[key]
            for key, keyword in _PATH_KEYS.items()
            if key in request.path_params
        }
        search = parse_search(level, above, request.scope["query_string"], self._context.limits)
        answer = await run_search(self._context, principal, search, purpose_of(request))
        headers = {"X-Ribcage-Receipt": str(answer.log_index), **promise_header(answer.promise)}
        views = {record.view for record in answer.records}
        if views:
            headers["X-Ribcage-View"] = views.pop() if len(views) == 1 else "mixed"
        warnings = [
            text for due, text in ((search.fuzzy, _FUZZY_WARNING), (answer.more, _MORE_WARNING)) if due
        ]
        if warnings:
            headers["Warning"] = ", ".join(warnings)
        if not answer.records:
            return Response(status_code=204, headers=headers)  # PS3.18 10.6.3.1
        base = origin_of(request) + SERVICE
        written = body.write(_encoded(answer, search, base, xml=body.xml))
        return Response(b"".join([piece async for piece in written]), headers=headers | dict(body.headers))


async def _encoded(answer: QueryAnswer, search: Search, base: str, *, xml: bool) -> AsyncIterator[bytes]:
    for record in answer.records:
        model = encode_record(search, record, base)
        if xml:
            yield to_native_model(cast("dict[str, Json]", model))
        else:
            yield json.dumps(model, ensure_ascii=False).encode()


async def run_search(
    context: WebContext, principal: Principal, search: Search, purpose: Purpose
) -> QueryAnswer:
    """Ask the guard. Raises GuardError."""
    query = Query(
        principal=principal, channel="dicomweb", level=search.level, filters=dict(search.filters), purpose=purpose,
        limit=search.limit, offset=search.offset,
    )  # fmt: skip
    return await context.guard().call(query, QueryAnswer)
