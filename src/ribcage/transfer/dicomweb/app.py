"""The HTTP application: the reviewed routes behind the edge."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import DeletionRefused, MethodRefused, from_status
from ribcage.transfer.dicomweb.headers import Edge
from ribcage.transfer.dicomweb.routes import Entry, routes


def make_app(context: WebContext, more: Sequence[Entry] = ()) -> Starlette:
    """Build the ASGI application. There is no debug mode, no schema page and no redirect between slashes.

    `more`: reviewed routes of rooms above this one (`ribcage.console`).
    """
    app = Starlette(
        routes=[entry.route for entry in (*routes(context), *more)],
        middleware=[Middleware(Edge)],
        exception_handlers={HTTPException: _not_routed},
    )
    app.router.redirect_slashes = False
    return app


def _not_routed(request: Request, failure: Exception) -> Response:
    """Starlette's own 404 and 405 in the form of every other error; 405 says what is allowed (RFC 9110 15.5.6)."""
    status = failure.status_code if isinstance(failure, HTTPException) else 500
    if status != MethodRefused.status:
        raise from_status(status)
    error = DeletionRefused() if request.method == "DELETE" else MethodRefused()
    allowed = {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.path_regex.match(request.url.path)
        for method in route.methods or ()
    }
    error.headers = {"Allow": ", ".join(sorted(allowed))}
    raise error
