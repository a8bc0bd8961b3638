"""The real archive on loopback: supervisor, guard and fronts as processes, on a home in a temporary folder.

`patch` names modules of `attacks.patches` (blank separated) that are applied in guard and fronts before they start:
that is how a defence is taken out for one test, and the only way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyotp

from helpers.guard_house import PASSPHRASE, PLAN, prove_operator
from ribcage.cli import settings
from ribcage.cli.commands import write_identity
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.home import create_home
from ribcage.storage.verify import VerifyReport, verify_home

TESTS = Path(__file__).resolve().parent.parent
_START_SECONDS = 30
_STOP_SECONDS = 30
_Answer = TypeVar("_Answer")


@dataclass
class Identity:
    """A registered device: its files and its AE title."""

    name: str
    ae_title: str
    certificate: Path
    key: Path
    authority: Path
    fingerprint: bytes

    def context(self) -> ssl.SSLContext:
        """TLS as this device."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context


class Archive:
    """One archive that can be started, stopped and killed."""

    def __init__(
        self, folder: Path, *, fronts: int = 1, patch: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.fronts = fronts
        self.patch = patch
        self.environment = dict(environment or {})  # for the archive's processes, beside our own
        self.settings: dict[str, Any] = {}  # beside the usual ones, for `create`
        self.process: subprocess.Popen[bytes] | None = None
        self.dicom: tuple[str, int] = ("", 0)
        self.https: tuple[str, int] = ("", 0)
        self.hl7: tuple[str, int] = ("", 0)  # where `settings["listen"]` has one
        self.authority = folder / "ca.crt"

    # --- life -------------------------------------------------------------------------------------------

    def create(self) -> None:
        create_home(self.home, self.folder / "root", PASSPHRASE, PLAN)
        more = {"listen": settings.Listen(dicom_port=0, https_port=0), **self.settings}
        wanted = settings.Settings(hospital="Test", fronts=self.fronts, **more)
        settings.save(self.home, wanted)

    def start(self) -> None:
        """Start and wait until it is ready."""
        program = "import sys; from helpers.archive_main import main; sys.exit(main())"
        environment = dict(os.environ, PYTHONPATH=str(TESTS), RIBCAGE_TEST_PATCH=self.patch)
        environment |= self.environment
        read, write = os.pipe()
        os.write(write, PASSPHRASE)
        os.close(write)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(self.home), str(read)],
            pass_fds=(read,),
            stdout=subprocess.PIPE,
            stderr=(self.folder / "server.log").open("ab"),
            env=environment,
        )
        os.close(read)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError((self.folder / "server.log").read_text())
        where = json.loads(line)
        self.dicom, self.https = tuple(where["dicom"]), tuple(where["https"])
        self.hl7 = tuple(where.get("hl7", ("", 0)))

    def stop(self) -> None:
        """Graceful stop."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(_STOP_SECONDS)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def children(self) -> list[int]:
        """Process ids of guard and fronts."""
        assert self.process is not None
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in listed.split()]

    def kill(self) -> None:
        """`kill -9` of everything at once; returns when all of them have ended."""
        assert self.process is not None
        orphans = [os.pidfd_open(child) for child in self.children()]
        self.process.kill()
        for orphan in orphans:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(orphan, signal.SIGKILL)
        self.process.wait()
        wait_for_end(orphans)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    # --- the operator -----------------------------------------------------------------------------------

    def ask(self, request: p.Request, expected: type[_Answer]) -> _Answer:
        """One administrative call to the running guard."""

        async def call() -> _Answer:
            client = await GuardClient.connect(self.home / "run" / "guard.sock")
            try:
                await prove_operator(client)
                return await client.call(request, expected)
            finally:
                await client.close()

        return asyncio.run(call())

    def verify(self) -> VerifyReport:
        """`ribcage verify` against the running guard."""

        async def run() -> VerifyReport:
            client = await GuardClient.connect(self.home / "run" / "guard.sock")
            try:
                await prove_operator(client)
                return await verify_home(client, self.home / "objects", lambda _part, _count: None)
            finally:
                await client.close()

        return asyncio.run(run())

    def device(self, name: str, ae_title: str, *may: str) -> Identity:
        """Register a device with a key pair made for it. More AE titles stand behind the first, blank separated."""
        titles = ae_title.split()
        added = self.ask(p.AddDevice(name=name, ae_titles=titles, may=list(may)), p.DeviceAdded)
        write_identity(self.folder / "devices", name, added)
        place = self.folder / "devices"
        self.authority.write_bytes(added.authority_pem)
        return Identity(
            name, titles[0], place / f"{name}.crt", place / f"{name}.key", place / "ca.crt", added.fingerprint
        )

    def person(self, name: str, *roles: str) -> Browser:
        """Add a person and log in."""
        request = p.AddPerson(username=name, display_name=name.title(), roles=list(roles))
        added = self.ask(request, p.PersonAdded)
        browser = Browser(self, pyotp.parse_uri(added.totp_uri))
        browser.log_in(name, added.password)
        return browser

    def grant(self, subject: str, resource: str, view: str) -> int:
        """Put a grant on the ledger."""
        return self.ask(p.AddGrant(subject=subject, resource=resource, view=view), p.GrantAdded).grant_id

    def revoke(self, grant_id: int) -> None:
        """End a grant."""
        self.ask(p.RevokeGrant(grant_id=grant_id), p.Noted)


@dataclass
class Reply:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)


class Browser:
    """A person's HTTPS client: cookie jar of one, same-origin requests."""

    def __init__(self, archive: Archive, totp: pyotp.TOTP) -> None:
        self.archive = archive
        self.totp = totp
        self.cookie = ""
        self.agent = "Ribcage-Test/1"
        self.context = ssl.create_default_context(cafile=str(self._authority()))

    def _authority(self) -> Path:
        if not self.archive.authority.exists():
            self.archive.device("probe", "PROBE", "store")
        return self.archive.authority

    @property
    def base(self) -> str:
        return f"https://localhost:{self.archive.https[1]}"

    def request(self, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """GET, or POST when there is a body. Header names: underscores become hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given.setdefault("User-Agent", self.agent)
        if self.cookie:
            given["Cookie"] = self.cookie
        if body is not None:
            given.setdefault("Origin", self.base)
        request = urllib.request.Request(self.base + path, data=body, headers=given)
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=60) as answer:
                new = str(answer.headers.get("Set-Cookie", "")).split(";")[0]
                self.cookie = new if self.cookie and new else self.cookie  # as a browser's jar does
                return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())

    def log_in(self, name: str, password: str) -> Reply:
        body = json.dumps({"username": name, "password": password}).encode()
        reply = self.request("/api/login", body, Content_Type="application/json")
        self.cookie = reply.headers.get("set-cookie", "").split(";")[0]
        return reply

    def step_up(self) -> Reply:
        body = json.dumps({"code": self.totp.now()}).encode()
        return self.request("/api/step-up", body, Content_Type="application/json")

    def retrieve(self, path: str, **headers: str) -> Reply:
        """WADO-RS in the stored syntax."""
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        return self.request(f"/dicom-web/{path}", Accept=accept, **headers)


def wait_for_end(processes: list[int]) -> None:
    """Until these processes (pidfds, which are closed) have ended. Raises TimeoutError."""
    for process in processes:
        ended, _, _ = select.select([process], [], [], _STOP_SECONDS)
        os.close(process)
        if not ended:
            raise TimeoutError("a process did not end")


def parts(reply: Reply) -> list[bytes]:
    """The bodies of a multipart answer."""
    boundary = reply.headers["content-type"].split("boundary=")[1].strip('"').encode()
    found = []
    for piece in reply.body.split(b"--" + boundary)[1:-1]:
        found.append(piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n"))
    return found


@contextlib.contextmanager
def new_archive(folder: Path, *, fronts: int = 1, patch: str = "", **more: Any) -> Iterator[Archive]:
    """A fresh archive, running; `more` are settings."""
    archive = Archive(folder, fronts=fronts, patch=patch)
    archive.settings = more
    archive.create()
    archive.start()
    try:
        yield archive
    finally:
        archive.stop()
