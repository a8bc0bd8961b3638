"""Log-in, second factor and log-out as JSON (`/api/…`). Nothing of the archive passes here.

The session proof travels in the cookie alone; no answer and no URL carries it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import LoggedIn, LogIn, LogOut, Noted, Person, Session, StepUp, WhoAmI
from ribcage.transfer.dicomweb.bodies import read_json
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.principal import (
    client_of,
    dead_cookie,
    peer_of,
    require_session,
    session_cookie,
    session_of,
)


class LogInBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/login."""

    username: str
    password: str


class StepUpBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/step-up: a code of RFC 6238."""

    code: str


class PeopleResources:
    """Handlers of the JSON log-in."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def log_in(self, request: Request) -> Response:
        """POST /api/login: sets the cookie."""
        body = await read_json(request, self._context.limits, LogInBody)
        logged_in = await log_in(self._context, request, body.username, body.password)
        return answer_json({"expires_at": logged_in.expires_at}, fresh_cookie(logged_in))

    async def step_up(self, request: Request) -> Response:
        """POST /api/step-up: raises this session's assurance."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, StepUpBody)
        return described(request, await step_up(self._context, session, body.code))

    async def recover(self, request: Request) -> Response:
        """POST /api/step-up/recovery: a recovery code as second factor."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, StepUpBody)
        return described(request, await step_up(self._context, session, body.code, "recovery"))

    async def log_out(self, request: Request) -> Response:
        """POST /api/logout: ends the session and removes the cookie; harmless without one."""
        await log_out(self._context, request)
        return Response(status_code=204, headers={"Set-Cookie": dead_cookie()})

    async def session(self, request: Request) -> Response:
        """GET /api/session: what the session may know of itself; its secret is replaced when it is due."""
        question = WhoAmI(session=require_session(request), rotate=True)
        return described(request, await self._context.guard().call(question, Person))


async def log_in(context: WebContext, request: Request, username: str, password: str) -> LoggedIn:
    """Ask the guard for a session. Raises GuardError."""
    return await context.guard().call(
        LogIn(username, password, peer_of(request).address, client_of(request)), LoggedIn
    )


async def step_up(
    context: WebContext, session: Session, code: str, kind: Literal["totp", "recovery"] = "totp"
) -> Person:
    """Prove the second factor; the session as it is then, with a new secret. Raises GuardError."""
    return await context.guard().call(StepUp(session=session, code=code, kind=kind), Person)


async def log_out(context: WebContext, request: Request) -> None:
    """End the cookie's session; one that is gone already counts as ended. Raises GuardError."""
    session = session_of(request)
    if session is None:
        return
    try:
        await context.guard().call(LogOut(session=session), Noted)
    except GuardRefused as refused:
        if refused.reason != "not_authenticated":
            raise


def fresh_cookie(new: LoggedIn | Person) -> str:
    """The Set-Cookie value for a new session or secret, dead when the session is; "" where there is none."""
    return session_cookie(new.proof, int(new.expires_at - time.time())) if new.proof else ""


def described(request: Request, person: Person) -> Response:
    """The session as JSON, and the cookie of its next secret."""
    return answer_json(describe(person) | {"language": language(request)}, fresh_cookie(person))


def language(request: Request) -> str:
    """`zh` or `en`: the first of both that the browser asks for."""
    for each in request.headers.get("accept-language", "").lower().split(","):
        if each.strip()[:2] in ("zh", "en"):
            return each.strip()[:2]
    return "en"


def describe(person: Person) -> dict[str, object]:
    """A person as JSON."""
    return {
        "assurance_until": person.second_factor_until,
        "factors": {
            "totp": person.totp,
            "passkeys": person.passkeys,
            "recovery_codes": person.recovery_codes,
        },
        "second_factor": person.second_factor,
        "notices": person.notices,
        "hospital": person.hospital,
        "username": person.username,
        "display_name": person.display_name,
        "roles": person.roles,
        "assurance": person.assurance,
        "second_factor_until": person.second_factor_until,
        "expires_at": person.expires_at,
    }


def answer_json(body: Mapping[str, object], cookie: str = "") -> Response:
    """A JSON answer."""
    headers = {"Content-Type": "application/json"} | ({"Set-Cookie": cookie} if cookie else {})
    return Response(json.dumps(body, ensure_ascii=False).encode(), headers=headers)
