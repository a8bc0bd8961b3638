"""Log-in, second factor and log-out as JSON (`/api/…`). Nothing of the archive passes here.

The session proof travels in the cookie alone; no answer and no URL carries it.
"""

from __future__ import annotations

import json
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import LoggedIn, LogIn, LogOut, Noted, Person, Session, StepUp, WhoAmI
from ribcage.transfer.dicomweb.bodies import read_json
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.principal import (
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
        return _json({"expires_at": logged_in.expires_at}, fresh_cookie(logged_in))

    async def step_up(self, request: Request) -> Response:
        """POST /api/step-up: raises this session's assurance."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, StepUpBody)
        return _json(describe(await step_up(self._context, session, body.code)))

    async def log_out(self, request: Request) -> Response:
        """POST /api/logout: ends the session and removes the cookie; harmless without one."""
        await log_out(self._context, request)
        return Response(status_code=204, headers={"Set-Cookie": dead_cookie()})

    async def session(self, request: Request) -> Response:
        """GET /api/session: what the session may know of itself."""
        person = await self._context.guard().call(WhoAmI(session=require_session(request)), Person)
        return _json(describe(person))


async def log_in(context: WebContext, request: Request, username: str, password: str) -> LoggedIn:
    """Ask the guard for a session. Raises GuardError."""
    return await context.guard().call(
        LogIn(username=username, password=password, address=peer_of(request).address), LoggedIn
    )


async def step_up(context: WebContext, session: Session, code: str) -> Person:
    """Prove the second factor, then describe the session. Raises GuardError."""
    guard = context.guard()
    answer = await guard.ask(StepUp(session=session, code=code))
    return answer if isinstance(answer, Person) else await guard.call(WhoAmI(session=session), Person)


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


def fresh_cookie(logged_in: LoggedIn) -> str:
    """The Set-Cookie value for a new session, dead when the session is."""
    return session_cookie(logged_in.proof, int(logged_in.expires_at - time.time()))


def describe(person: Person) -> dict[str, object]:
    """A person as JSON."""
    return {
        "username": person.username,
        "display_name": person.display_name,
        "roles": person.roles,
        "assurance": person.assurance,
        "second_factor_until": person.second_factor_until,
        "expires_at": person.expires_at,
    }


def _json(body: dict[str, object], cookie: str = "") -> Response:
    headers = {"Content-Type": "application/json"} | ({"Set-Cookie": cookie} if cookie else {})
    return Response(json.dumps(body, ensure_ascii=False).encode(), headers=headers)
