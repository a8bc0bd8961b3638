"""The plain forms: the handlers behind `pages`. They ask the guard the same questions as the JSON routes."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import Person, WhoAmI
from ribcage.transfer.dicomweb import pages
from ribcage.transfer.dicomweb.bodies import read_form
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import BadRequest, Unauthenticated, WebError, from_guard
from ribcage.transfer.dicomweb.people import fresh_cookie, log_in, log_out, step_up
from ribcage.transfer.dicomweb.principal import dead_cookie, require_session
from ribcage.transfer.dicomweb.qido import Search
from ribcage.transfer.dicomweb.search import run_search

_WRONG_NAME: Final = "用户名或密码不正确。Username or password is wrong."
_THROTTLED: Final = 429
_WRONG_CODE: Final = "口令不正确或已使用。The code is wrong or was used."


class FormResources:
    """Handlers of /, /login, /step-up, /logout, /search."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def home(self, request: Request) -> Response:
        """GET /: the session and the search form, or the way to the log-in."""
        try:
            return _html(pages.home_page(await self._person(request)))
        except (Unauthenticated, GuardRefused):
            return _see("/login", dead_cookie())

    async def login_form(self, request: Request) -> Response:
        """GET /login."""
        return _html(pages.login_page())

    async def log_in(self, request: Request) -> Response:
        """POST /login."""
        form = await read_form(request, self._context.limits)
        try:
            logged_in = await log_in(
                self._context, request, form.get("username", ""), form.get("password", "")
            )
        except GuardError as failure:
            error = from_guard(failure)
            wrong = error.status in (400, 401, 403, 404)
            return _html(
                pages.login_page(_WRONG_NAME if wrong else _with_wait(error)),
                401 if wrong else error.status,
            )
        return _see("/", fresh_cookie(logged_in))

    async def step_up_form(self, request: Request) -> Response:
        """GET /step-up."""
        return _html(pages.step_up_page())

    async def step_up(self, request: Request) -> Response:
        """POST /step-up."""
        form = await read_form(request, self._context.limits)
        try:
            session = require_session(request)
            person = await step_up(self._context, session, form.get("code", "").strip())
        except GuardError as failure:
            error = from_guard(failure)
            wrong = error.status in (400, 401, 403)
            return _html(
                pages.step_up_page(_WRONG_CODE if wrong else _with_wait(error)),
                403 if wrong else error.status,
            )
        return _see("/", fresh_cookie(person))

    async def log_out(self, request: Request) -> Response:
        """POST /logout."""
        await log_out(self._context, request)
        return _see("/login", dead_cookie())

    async def search(self, request: Request) -> Response:
        """POST /search: studies as a table, masked as the guard answered them."""
        form = await read_form(request, self._context.limits)
        if not set(form) <= set(pages.SEARCH_FIELDS):
            raise BadRequest("expected the fields of the search form")
        person = await self._person(request)
        values = {name: value.strip() for name, value in form.items() if value.strip()}
        search = Search("study", values, None, self._context.limits.default_results, 0, False)
        try:
            answer = await run_search(self._context, require_session(request), search, "TREAT")
        except GuardError as failure:
            return _error(from_guard(failure))
        page = pages.home_page(person, values, answer.records, answer.more)
        return _html(page, headers={"X-Ribcage-Receipt": str(answer.log_index)})

    async def _person(self, request: Request) -> Person:
        return await self._context.guard().call(WhoAmI(session=require_session(request)), Person)


def _with_wait(error: WebError) -> str:
    if error.status != _THROTTLED:
        return error.hint
    seconds = error.headers["Retry-After"]
    return f"{error.hint} 请在 {seconds} 秒后重试。Try again in {seconds} seconds."


def _error(error: WebError) -> Response:
    page = pages.message_page("无法完成 Not done", error.hint)
    return _html(page, error.status, dict(error.headers))


def _html(page: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    fields = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": pages.PAGE_POLICY}
    return Response(page.encode(), status_code=status, headers=fields | (headers or {}))


def _see(place: str, cookie: str = "") -> Response:
    return Response(status_code=303, headers={"Location": place} | ({"Set-Cookie": cookie} if cookie else {}))
