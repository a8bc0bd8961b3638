"""The edge of the application: header fields of every answer, foreign sites kept out, errors answered.

Rules, in order:
1. Every answer forbids storing, sniffing, framing and referrers; pages may load nothing but themselves.
2. Exactly one well-formed Host; it is what RetrieveURL repeats, so nothing else may stand in it.
3. A browser acting for another site is refused (Fetch Metadata; for unsafe methods Origin must equal Host where
   Sec-Fetch-Site is absent). `Origin: null` beside `same-origin` is our own form: no-referrer makes it null.
   A person's or patient's cookie on an unsafe method without either header is refused; a device's certificate is
   not, since programs send neither.
4. Errors become `{error, hint}` with the status of their class, and what is offered where media types differ. Once
   an answer has begun nothing can be told: it is cut, and the missing last chunk shows it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ribcage.capture import errors as admission
from ribcage.guard.errors import GuardError
from ribcage.transfer.dicomweb.errors import (
    BadRequest,
    ClientGone,
    ForeignOrigin,
    StepUpNeeded,
    UnsupportedMedia,
    WebError,
    from_guard,
    from_status,
)
from ribcage.usage.errors import DisclosureError, SecondFactorNeeded

SECURITY_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
COOKIE_NAME: Final = "__Host-ribcage"
PATIENT_COOKIE: Final = "__Host-ribcage-patient"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
NAVIGABLE: Final = frozenset({"/", "/login", "/patient", "/healthz"})  # another site may link to these

_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_log: Final = logging.getLogger("ribcage.transfer.dicomweb")


class Edge:
    """ASGI middleware around all routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, run, and answer what went wrong."""
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        try:
            check_request(scope)
            await self._app(scope, receive, answer)
        except (ClientGone, ClientDisconnect):
            return
        except Exception as failure:  # noqa: BLE001 - the process edge: no request may end a front
            error = to_web_error(failure)
            if error.status >= 500:
                _log.error("%s while answering %s", type(failure).__name__, scope["method"])
            if not answer.started:
                await error_response(answer, error, scope["method"])


class _Answer:
    """`send` with our header fields; knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.started = True
            fields = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS:
                fields.setdefault(name.decode(), value.decode())
            fields["date"] = formatdate(usegmt=True)
        await self._send(message)


def to_web_error(failure: Exception) -> WebError:
    """The HTTP form of any failure: by its class, or by the `http_status` that a lower room's class carries."""
    if isinstance(failure, WebError):
        return failure
    if isinstance(failure, GuardError):
        return from_guard(failure)
    if isinstance(failure, asyncio.TimeoutError):
        return from_status(408)
    status = getattr(failure, "http_status", 500)
    error = from_status(status if isinstance(status, int) else 500)
    if isinstance(failure, SecondFactorNeeded | admission.StepUpNeeded):
        error = StepUpNeeded()
    if isinstance(failure, DisclosureError) and failure.decided_microseconds:
        error.headers = {**error.headers, **server_timing(failure.decided_microseconds)}
    return error


def server_timing(decided_microseconds: float) -> dict[str, str]:
    """How long the contract took, as Server-Timing (W3C): milliseconds."""
    return {"Server-Timing": f"contract;dur={decided_microseconds / 1000:.3f}"}


async def error_response(send: Send, error: WebError, method: str) -> None:
    """Send `{error, hint}` (rule 4). A body may stand unread behind an unsafe method: that connection closes."""
    told: dict[str, object] = {"error": error.code, "hint": error.hint}
    if error.offered:
        told["offered"] = error.offered
    body = json.dumps(told, ensure_ascii=False).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    fields.extend((name.lower().encode(), value.encode()) for name, value in error.headers.items())
    if error.offered and error.status == UnsupportedMedia.status:
        fields.append((b"accept", ", ".join(error.offered).encode()))
    if method not in SAFE_METHODS:
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def check_request(scope: Scope) -> None:
    """Rules 2 and 3. Raises BadRequest or ForeignOrigin."""
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
        raise BadRequest("expected one Host field")
    if b"\x00" in unquote_to_bytes(scope.get("raw_path", b"")):
        raise BadRequest("expected a path without control characters")
    _check_site(scope["method"], scope["path"], headers, hosts[0])


def _check_site(method: str, path: str, headers: Headers, host: str) -> None:
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    unsafe = method not in SAFE_METHODS
    linked = not unsafe and path in NAVIGABLE and headers.get("sec-fetch-mode") in (None, "navigate")
    if site not in (None, "same-origin", "none") and not linked:
        raise ForeignOrigin("expected a request of our own page")
    if not unsafe:
        return
    own = f"https://{host}".lower()
    if origin is not None and origin.lower() != own and not (origin == "null" and site == "same-origin"):
        raise ForeignOrigin("expected Origin to equal Host")
    cookies = headers.get("cookie", "")
    known = any(f"{name}=" in cookies for name in (COOKIE_NAME, PATIENT_COOKIE))
    if site == "none" or (site is None and origin is None and known):
        raise ForeignOrigin("expected Origin or Sec-Fetch-Site beside a session cookie")


def origin_of(request: Request) -> str:
    """`https://host` of this archive as the peer addressed it; Host was checked by `check_request`."""
    return f"https://{request.headers['host']}"


def promise_header(promise: bytes) -> dict[str, str]:
    """The entry promise for the peer to keep: a signed checkpoint in Base64 (`docs/formats.md` 5.11)."""
    return {"X-Ribcage-Promise": base64.b64encode(promise).decode()} if promise else {}
