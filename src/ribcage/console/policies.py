"""Content-Security-Policy and the other header fields of the console's files.

Rules, in order:
1. Everything is refused unless named, nothing from another origin is named, nobody may frame a page; but the console's
   pages frame the viewer's, which they keep warm, and no other origin does.
2. Pages run scripts of files alone: no inline script, no text made into code. WebAssembly may be compiled.
3. One worker decodes pictures with codecs (Emscripten's embind) that make functions from text. Its script's own
   policy allows that inside that worker, which has no page; no page's policy does.
4. OHIF and its parts write style elements while they run, with texts that are not known beforehand: hashes cannot
   name them and OHIF takes no nonce. So the viewer's page allows inline styles (style, never script); the
   console's own pages allow none.
"""

from __future__ import annotations

from typing import Final

from ribcage.console.library import File

_CLOSED: Final = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors "
VIEWER_POLICY: Final = (
    f"{_CLOSED}'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; media-src 'self' blob:; connect-src 'self' blob: data:"
)
PATIENT_POLICY: Final = (
    f"{_CLOSED}'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'"
)
APP_POLICY: Final = f"{PATIENT_POLICY}; frame-src 'self'"
_WORKER: Final = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{more}; worker-src 'self' blob:; connect-src 'self'"
_FILE: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"

PAGE_HEADERS: Final = {
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), "
    "display-capture=(), clipboard-read=()",
    "Cache-Control": "no-store",
}
_MEDIA_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "woff2": "font/woff2",
}


def media_type(name: str) -> str:
    """The media type by the name's ending."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def file_policy(file: File) -> str:
    """The policy of a file that is not a page: a worker's own (rule 3), else nothing at all."""
    if not file.worker:
        return _FILE
    return _WORKER.format(more=" 'unsafe-eval'" if file.worker == "evaluates" else "")
