"""The console's routes: static files, and three pages that hold no data themselves.

Rules, in order:
1. Files are open to everybody: they are the same for all and hold nothing of the archive.
2. The viewer's page is given to a live session alone; without one the answer leads to the log-in.
3. A page is never cached; a file with its hash in its name is kept for good; other files are asked for again by
   their hash (RFC 9110 13.1.2).
4. Without a build each address says so, with 503: the archive works without its pages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

from anyio import open_file
from starlette.requests import Request
from starlette.responses import Response

from ribcage.console.errors import NotBuilt
from ribcage.console.library import File, Library
from ribcage.console.policies import (
    APP_POLICY,
    PAGE_HEADERS,
    PATIENT_POLICY,
    VIEWER_POLICY,
    file_policy,
    media_type,
)
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import Person, WhoAmI
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import NotFound, Unauthenticated
from ribcage.transfer.dicomweb.principal import require_session
from ribcage.transfer.dicomweb.routes import Entry, entry
from ribcage.transfer.dicomweb.streaming import StreamedResponse

STATIC: Final = Path(__file__).with_name("static")
NOT_BUILT: Final = "The web console is not built; run: make console\n"
_CHUNK_BYTES: Final = 256 * 1024
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"


def console_routes(context: WebContext, folder: Path = STATIC) -> list[Entry]:
    """All routes of the console, for `make_http_protocol`."""
    try:
        library: Library | None = Library.read(folder)
    except NotBuilt:
        library = None  # rule 4
    files = ConsoleFiles(context, library)
    return [
        entry("GET", "/viewer/viewer", files.viewer, "nothing"),
        entry("GET", "/viewer/{name:path}", files.viewer_file, "nothing"),
        entry("GET", "/app/assets/{name:path}", files.app_file, "nothing"),
        entry("GET", "/app/{page:path}", files.app, "nothing"),
        entry("GET", "/patient", files.patient, "nothing"),
        entry("GET", "/NOTICES.txt", files.notices, "nothing"),
    ]


class ConsoleFiles:
    """Handlers of the console's files and pages."""

    def __init__(self, context: WebContext, library: Library | None) -> None:
        self._context = context
        self._library = library

    async def viewer(self, request: Request) -> Response:
        """GET /viewer/viewer: OHIF's page, for a live session (rule 2)."""
        try:
            await self._context.guard().call(WhoAmI(session=require_session(request)), Person)
        except (Unauthenticated, GuardRefused):
            return Response(status_code=303, headers={"Location": "/app/login"})
        return self._give(request, "viewer/index.html", VIEWER_POLICY)

    async def viewer_file(self, request: Request) -> Response:
        """GET /viewer/{name}: one of OHIF's files."""
        return self._give(request, f"viewer/{request.path_params['name']}")

    async def app(self, request: Request) -> Response:
        """GET /app/…: the console's only page; which of its views is shown is its own affair."""
        return self._give(request, "app/index.html", APP_POLICY)

    async def patient(self, request: Request) -> Response:
        """GET /patient: the patient's page; it takes its invitation out of the fragment, which no server sees."""
        return self._give(request, "app/patient.html", PATIENT_POLICY)

    async def app_file(self, request: Request) -> Response:
        """GET /app/assets/{name}: one of the console's files."""
        return self._give(request, f"app/assets/{request.path_params['name']}")

    async def notices(self, request: Request) -> Response:
        """GET /NOTICES.txt: licences of what is served."""
        return self._give(request, "NOTICES.txt")

    def _give(self, request: Request, name: str, page_policy: str = "") -> Response:
        if self._library is None:
            return _unavailable()
        file = self._library.get(name)
        if file is None or (not page_policy and name.endswith(".html")):
            raise NotFound("expected a file of the console")
        packed = bool(file.packed) and _takes_brotli(request)
        try:
            path = self._library.path(name, packed)
        except NotBuilt:
            return _unavailable()
        headers = _headers(name, file, packed, page_policy)
        if headers.get("ETag") in _known(request):
            return Response(status_code=304, headers=headers)
        headers |= {
            "Content-Length": str(file.packed if packed else file.size),
            "Content-Type": media_type(name),
        }
        if packed:
            headers["Content-Encoding"] = "br"
        return StreamedResponse(_read(path), headers, self._context.limits.send_stall_seconds)


def _headers(name: str, file: File, packed: bool, page_policy: str) -> dict[str, str]:
    if page_policy:
        return {"Content-Security-Policy": page_policy, "Vary": "Accept-Encoding", **PAGE_HEADERS}
    return {
        "Content-Security-Policy": file_policy(file),
        "ETag": f'"{file.sha256[:32]}{"-br" if packed else ""}"',
        "Cache-Control": _FOR_GOOD if file.immutable else _ASK_AGAIN,
        "Vary": "Accept-Encoding",
    }


def _known(request: Request) -> set[str]:
    """The entity tags of If-None-Match, weak ones included."""
    return {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}


def _takes_brotli(request: Request) -> bool:
    codings = (each.partition(";") for each in request.headers.get("accept-encoding", "").lower().split(","))
    return any(
        name.strip() == "br" and more.replace(" ", "") not in ("q=0", "q=0.0") for name, _, more in codings
    )


async def _read(path: Path) -> AsyncGenerator[bytes, None]:
    async with await open_file(path, "rb") as source:
        while chunk := await source.read(_CHUNK_BYTES):
            yield chunk


def _unavailable() -> Response:
    return Response(NOT_BUILT, 503, headers={"Content-Type": "text/plain"})
