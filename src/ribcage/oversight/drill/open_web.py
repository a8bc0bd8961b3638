"""The HTTP half of the open archive: log-in, QIDO-RS and WADO-RS in clear, believing every session number.

What a viewer asks for is answered from the first file of the study, with everything in it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydicom import dcmread

from ribcage.oversight.drill.attackers.replayed_code import totp
from ribcage.oversight.drill.open_archive import Shelf

_BOUNDARY = "open"
_STUDY = re.compile(r"^/dicom-web/studies/([0-9.]+)(/(?:metadata|series|instances))?")
_VIEWED = re.compile(r"/(?:metadata|frames/1|(?:frames/1/)?(?:rendered|thumbnail)|bulkdata/([0-9A-F]{8}))$")
_INLINE_BYTES = 64


class OpenWeb:
    """A plain HTTP server on a port of its own."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.sessions: dict[str, str] = {}
        self.counter = itertools.count(1)
        web = self

        class Handler(_Handler):
            archive = web

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def log_in(self, username: str, password: str) -> str:
        """A session number, or '' for a wrong password."""
        with self.shelf.connection() as connection:
            query = "SELECT 1 FROM person WHERE username = ? AND password = ?"
            if connection.execute(query, (username, password)).fetchone() is None:
                return ""
        number = str(next(self.counter))
        self.sessions[number] = username
        self.shelf.note(f"log-in of {username}")
        return number

    def code_fits(self, username: str, code: str) -> bool:
        """A code of this half minute or its neighbours, used before or not."""
        with self.shelf.connection() as connection:
            query = "SELECT totp_secret FROM person WHERE username = ?"
            (secret,) = connection.execute(query, (username,)).fetchone()
        now = int(time.time() // 30)
        return bool(secret) and code in {totp(secret, now + step) for step in (-2, -1, 0, 1, 2)}


class _Handler(BaseHTTPRequestHandler):
    """Routes as Ribcage's, so that the attackers run unchanged."""

    archive: OpenWeb

    def log_message(self, format: str, *args: object) -> None:
        """The text log of every careless server: raw URLs."""
        with (self.archive.shelf.folder / "access.log").open("a", encoding="utf-8") as log:
            log.write(f"{self.address_string()} {format % args}\n")

    def do_POST(self) -> None:
        """Log-in and step-up."""
        length = int(self.headers.get("Content-Length", "0"))
        told = json.loads(self.rfile.read(length) or b"{}")
        if self.path == "/api/login":
            number = self.archive.log_in(told.get("username", ""), told.get("password", ""))
            cookie = {"Set-Cookie": f"session={number}; Path=/"} if number else {}
            return self._say(200 if number else 401, b"{}", "application/json", cookie)
        if self.path == "/api/step-up":
            user = self.archive.sessions.get(self._session(), "")
            fits = bool(user) and self.archive.code_fits(user, told.get("code", ""))
            return self._say(200 if fits else 403, b"{}", "application/json")
        return self._say(404, b"{}", "application/json")

    def do_GET(self) -> None:
        """QIDO-RS and WADO-URI for everybody, WADO-RS for every session, `/healthz`."""
        path = urllib.parse.urlsplit(self.path).path
        if path == "/healthz":
            return self._say(200, b"ok", "text/plain")
        if path == "/wado":
            return self._wado_uri()
        found, viewed = _STUDY.match(path), _VIEWED.search(path)
        if found and viewed and self._session() in self.archive.sessions:
            files = self.archive.shelf.files(found[1])
            return self._say(200, *_view(files[0], path)) if files else self._say(404, b"", "text/plain")
        if path.startswith("/dicom-web/studies") and (not found or found[2]):
            return self._say(200, self._listing(found[1] if found else ""), "application/dicom+json")
        if not found:
            return self._say(404, b"", "text/plain")
        if self._session() not in self.archive.sessions:
            return self._say(401, b"", "text/plain")
        files = self.archive.shelf.files(found[1])
        self.archive.shelf.note(f"study {found[1]} shown to session {self._session()}")
        parts = [
            f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + one + b"\r\n"
            for one in files
        ]
        body = b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
        return self._say(200, body, f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}')

    def _wado_uri(self) -> None:
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        files = self.archive.shelf.files(asked.get("studyUID", [""])[0])
        return self._say(200, files[0], "application/dicom") if files else self._say(404, b"", "text/plain")

    def _listing(self, study_uid: str) -> bytes:
        rows = [
            {
                "0020000D": {"vr": "UI", "Value": [uid]},
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
                "00100020": {"vr": "LO", "Value": [patient_id]},
            }
            for uid, name, patient_id, _ in self.archive.shelf.studies()
            if study_uid in ("", uid)
        ]
        return json.dumps(rows).encode()

    def _session(self) -> str:
        """From the cookie, or from the link."""
        found = re.search(r"session=(\w+)", self.headers.get("Cookie", "")) or re.search(
            r"[?&;](?:session|token|access_token)=(\w+)", self.path
        )
        return found[1] if found else ""

    def _say(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                **(more or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)


def _view(file: bytes, path: str) -> tuple[bytes, str]:
    """Body and type of one piece as a viewer asks for it; a picture bears the name in its comment."""
    data = dcmread(io.BytesIO(file))
    viewed = _VIEWED.search(path)
    if path.endswith("/metadata"):
        base = path.removesuffix("/metadata")
        model = data.to_json_dict(_INLINE_BYTES, lambda element: f"{base}/bulkdata/{element.tag:08X}")
        return json.dumps([model]).encode(), "application/dicom+json"
    pixels = bytes(data.get("PixelData", b""))
    if path.endswith("frames/1"):
        return pixels, "application/octet-stream"
    if viewed and viewed[1]:
        return bytes(data[int(viewed[1], 16)].value), "application/octet-stream"
    head = f"P5\n# {data.get('PatientName', '')}\n{data.Columns} {data.Rows} 4095\n"
    return head.encode() + pixels, "image/x-portable-graymap"
