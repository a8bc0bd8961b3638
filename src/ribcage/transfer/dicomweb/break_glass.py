"""POST /api/break-glass: a person opens a film without a grant, for a while, alarmed and reviewed.

The session travels in the cookie alone, as for every route of `/api/`; a certificate is not asked.
"""

from __future__ import annotations

import json

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.protocol import BreakGlass, GlassBroken, GlassReason
from ribcage.transfer.dicomweb.bodies import read_json
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.principal import require_session


class BreakGlassBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`study` (a Study Instance UID) or `patient` (ID or ID|ISSUER); a note of at most 200 characters."""

    reason: GlassReason
    study: str = ""
    patient: str = ""
    note: str = ""
    code: str = ""


class BreakGlassResource:
    """The handler."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def ask(self, request: Request) -> Response:
        """Answers `number` (-1: in the emergency journal so far), `valid_until` and the `purpose` it serves."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, BreakGlassBody)
        asked = BreakGlass(session, body.reason, body.study, body.patient, body.note, body.code)
        broken = await self._context.guard().call(asked, GlassBroken)
        answer = {"number": broken.number, "valid_until": broken.valid_until, "purpose": "ETREAT"}
        return Response(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})
