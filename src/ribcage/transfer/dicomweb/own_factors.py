"""Passkeys, recovery codes and own sessions as JSON (`docs/api.md`). The guard verifies; nothing is kept here.

Binary ids are base64url without padding, as WebAuthn writes them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard import protocol as p
from ribcage.transfer.dicomweb.bodies import read_json
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import BadRequest
from ribcage.transfer.dicomweb.people import answer_json, described, fresh_cookie
from ribcage.transfer.dicomweb.principal import client_of, peer_of, require_session

_ID: Final = re.compile(r"[A-Za-z0-9_\-]{22}")


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`{}`."""


class CredentialBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `PublicKeyCredential.toJSON()` gave, passed on as it is."""

    credential: msgspec.Raw


class NewPasskeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/passkeys."""

    label: str
    credential: msgspec.Raw


class IdBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An id from one of our lists."""

    id: str


class CodeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/enrol."""

    code: str


class OwnFactorResources:
    """Handlers of a person's own factors and sessions."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    # --- passkeys as a way in ---------------------------------------------------------------------------

    async def begin_log_in(self, request: Request) -> Response:
        """POST /api/login/passkey/begin."""
        await read_json(request, self._context.limits, Empty)
        question = p.BeginPasskeyLogIn(peer_of(request).address)
        return options(await self._context.guard().call(question, p.PasskeyOptions))

    async def log_in(self, request: Request) -> Response:
        """POST /api/login/passkey: sets the cookie."""
        body = await read_json(request, self._context.limits, CredentialBody)
        address, client = peer_of(request).address, client_of(request)
        guard = self._context.guard()
        new = await guard.call(p.PasskeyLogIn(_text(body.credential), address, client), p.LoggedIn)
        person = await guard.call(p.WhoAmI(p.Session(new.proof, address, client)), p.Person)
        answer = described(request, person)
        answer.headers["Set-Cookie"] = fresh_cookie(new)
        return answer

    async def begin_step_up(self, request: Request) -> Response:
        """POST /api/step-up/passkey/begin."""
        return await self._begin(request, "step-up")

    async def step_up(self, request: Request) -> Response:
        """POST /api/step-up/passkey."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, CredentialBody)
        question = p.PasskeyStepUp(session, _text(body.credential))
        return described(request, await self._context.guard().call(question, p.Person))

    # --- a person's own factors -------------------------------------------------------------------------

    async def enrol(self, request: Request) -> Response:
        """POST /api/enrol: a new one-time password by the code of a reset, shown once."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, CodeBody)
        answer = await self._context.guard().call(p.EnrolFactor(session, body.code), p.FactorEnrolled)
        return answer_json({"totp_uri": answer.totp_uri})

    async def begin(self, request: Request) -> Response:
        """POST /api/passkeys/begin."""
        return await self._begin(request, "register")

    async def _begin(self, request: Request, use: Literal["register", "step-up"]) -> Response:
        session = require_session(request)
        await read_json(request, self._context.limits, Empty)
        return options(await self._context.guard().call(p.BeginPasskey(session, use), p.PasskeyOptions))

    async def add(self, request: Request) -> Response:
        """POST /api/passkeys."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, NewPasskeyBody)
        question = p.AddPasskey(session, body.label, _text(body.credential))
        return answer_json(passkey(await self._context.guard().call(question, p.PasskeyItem)))

    async def passkeys(self, request: Request) -> Response:
        """GET /api/passkeys."""
        question = p.ListPasskeys(require_session(request))
        answer = await self._context.guard().call(question, p.PasskeyItems)
        return answer_json({"passkeys": [passkey(each) for each in answer.items]})

    async def remove(self, request: Request) -> Response:
        """POST /api/passkeys/remove."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, IdBody)
        await self._context.guard().call(p.RemovePasskey(session, read_id(body.id)), p.Noted)
        return Response(status_code=204)

    async def make_codes(self, request: Request) -> Response:
        """POST /api/recovery-codes."""
        session = require_session(request)
        await read_json(request, self._context.limits, Empty)
        answer = await self._context.guard().call(p.MakeRecoveryCodes(session), p.RecoveryCodes)
        return answer_json({"codes": answer.codes})

    # --- own sessions -----------------------------------------------------------------------------------

    async def sessions(self, request: Request) -> Response:
        """GET /api/sessions."""
        question = p.ListSessions(require_session(request))
        answer = await self._context.guard().call(question, p.SessionItems)
        items = [
            {
                "id": _written(each.id),
                "created_at": each.created_at,
                "used_at": each.used_at,
                "address": each.address,
                "this": each.this,
            }
            for each in answer.items
        ]
        return answer_json({"sessions": items})

    async def end_session(self, request: Request) -> Response:
        """POST /api/sessions/end."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, IdBody)
        await self._context.guard().call(p.EndSessions(session, read_id(body.id)), p.Noted)
        return Response(status_code=204)

    async def end_others(self, request: Request) -> Response:
        """POST /api/sessions/end-others."""
        session = require_session(request)
        await read_json(request, self._context.limits, Empty)
        await self._context.guard().call(p.EndSessions(session), p.Noted)
        return Response(status_code=204)


def options(answer: p.PasskeyOptions) -> Response:
    """The guard's options as they are."""
    return answer_json(json.loads(answer.options))


def passkey(item: p.PasskeyItem) -> dict[str, object]:
    """A passkey as JSON."""
    return {
        "id": _written(item.id),
        "label": item.label,
        "created_at": item.created_at,
        "used_at": item.used_at,
        "user_verified": item.user_verified,
    }


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode()  # the body was valid UTF-8 JSON


def _written(identifier: bytes) -> str:
    return base64.urlsafe_b64encode(identifier).rstrip(b"=").decode()


def read_id(text: str) -> bytes:
    """An id of one of our lists. Raises BadRequest."""
    if _ID.fullmatch(text) is None:
        raise BadRequest("expected an id from the list")
    try:
        return base64.urlsafe_b64decode(text + "==")
    except binascii.Error as failure:
        raise BadRequest("expected an id from the list") from failure
