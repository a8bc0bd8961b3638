"""The search resources: QIDO-RS over the guard's `Query`, whose durable entry precedes every answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.protocol import Principal, Purpose, Query, QueryAnswer
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.headers import origin_of, promise_header
from ribcage.transfer.dicomweb.negotiation import parse_accept, require_json
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
        accept = request.query_params.get("accept") or request.headers.get("accept")
        media_type = require_json(parse_accept(accept))
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
        body = json.dumps(
            [encode_record(search, record, base) for record in answer.records], ensure_ascii=False
        )
        return Response(body.encode(), headers=headers | {"Content-Type": media_type})


async def run_search(
    context: WebContext, principal: Principal, search: Search, purpose: Purpose
) -> QueryAnswer:
    """Ask the guard. Raises GuardError."""
    query = Query(
        principal=principal, channel="dicomweb", level=search.level, filters=dict(search.filters), purpose=purpose,
        limit=search.limit, offset=search.offset,
    )  # fmt: skip
    return await context.guard().call(query, QueryAnswer)
