"""The real HTTP protocol on a loopback port, in a thread with a loop of its own, and files to send to it."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from helpers.fake_guard_web import FakeGuard
from ribcage.cage import Cage
from ribcage.capture.admit import WayIn
from ribcage.crypto import authority
from ribcage.guard.errors import GuardUnavailable
from ribcage.storage.objects import ObjectStore
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.dicomweb.routes import Entry
from ribcage.transfer.dicomweb.serve import make_http_protocol
from ribcage.usage.disclose import WayOut

CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True)
class Papers:
    """Certificates made for one test run: files of PEM."""

    authority: Path
    server: Path
    device: Path
    stranger: Path  # signed by an authority the server does not know
    device_fingerprint: bytes


def make_papers(folder: Path) -> Papers:
    now = datetime.now(UTC) - timedelta(minutes=1)
    root = authority.make_root("Test hospital", now=now)
    foreign = authority.make_root("Foreign", now=now)

    def put(name: str, *pems: bytes) -> Path:
        path = folder / name
        path.write_bytes(b"".join(pems))
        return path

    server = authority.issue_server(root, now=now)
    device = authority.issue_client(root, "ct-room-1", now=now, kind="ec")
    stranger = authority.issue_client(foreign, "stranger", now=now, kind="ec")
    return Papers(
        put("ca.pem", root.certificate_pem),
        put("server.pem", server.private_key_pem, server.certificate_pem),
        put("device.pem", device.private_key_pem, device.certificate_pem),
        put("stranger.pem", stranger.private_key_pem, stranger.certificate_pem),
        authority.fingerprint(device.certificate_pem),
    )


class WebServer:
    """Accepts on loopback and hands each socket to `connect_accepted_socket`, as the front does."""

    def __init__(
        self, papers: Papers, folder: Path, limits: WebLimits | None = None, cage: Cage | None = None
    ) -> None:
        self.papers = papers
        self.guard = FakeGuard(devices={papers.device_fingerprint})
        self.objects = ObjectStore(folder)
        self.objects.prepare()
        self.way_out = WayOut(self.guard, self.objects)
        self.context = WebContext(
            way_in=lambda: WayIn(self._guard(), self.objects),
            way_out=self._way_out,
            limits=limits or WebLimits(),
            cage=cage,
        )
        self.more: Callable[[WebContext], Sequence[Entry]] = lambda _context: ()  # routes of rooms above
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._loop = uvloop.new_event_loop()  # as in production
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def dicom(self) -> str:
        return f"{self.origin}/dicom-web"

    def __enter__(self) -> WebServer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._listener.close()

    def in_loop(self, work) -> None:
        self._loop.call_soon_threadsafe(work)

    def end_viewings(self) -> None:
        """As when they were idle: their closing entries are written."""
        asyncio.run_coroutine_threadsafe(self.context.viewings.close(), self._loop).result(10)

    def _guard(self) -> FakeGuard:
        if self.guard.gone:
            raise GuardUnavailable("gone")
        return self.guard

    def _way_out(self) -> WayOut:
        self._guard()
        return self.way_out

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.papers.server)
        context.load_verify_locations(self.papers.authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        self.factory = make_http_protocol(self.context, self.more(self.context))
        accepting = self._loop.create_task(self._accept(context))
        self._ready.set()
        await self._stopping.wait()
        accepting.cancel()
        await self.factory.drain(2)
        await self.factory.close()
        await asyncio.gather(accepting, return_exceptions=True)

    async def _accept(self, context: ssl.SSLContext) -> None:
        pending = set()
        while True:
            accepted, _ = await self._loop.sock_accept(self._listener)
            task = self._loop.create_task(self._shake_hands(accepted, context))
            pending.add(task)
            task.add_done_callback(pending.discard)

    async def _shake_hands(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        try:
            await self._loop.connect_accepted_socket(self.factory, accepted, ssl=context)
        except (OSError, ssl.SSLError):
            accepted.close()

    # --- clients -----------------------------------------------------------------------------------------

    def client_context(self, certificate: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.papers.authority))
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def tls_socket(self, certificate: Path | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.client_context(certificate).wrap_socket(plain, server_hostname="127.0.0.1")

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None,
        device: bool = True,
    ) -> Answer:  # fmt: skip
        """One request on a connection of its own."""
        context = self.client_context(self.papers.device if device else None)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def store(self, *files: bytes, study: str = "", **more) -> Answer:
        path = "/dicom-web/studies" + (f"/{study}" if study else "")
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=xyz'}
        return self.request("POST", path, multipart(*files), headers | more.pop("headers", {}), **more)


@dataclass(frozen=True)
class Answer:
    """Status, header fields with lower-case names, body."""

    status: int
    raw_headers: dict[str, str]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.raw_headers.items()}


def multipart(*files: bytes, boundary: str = "xyz") -> bytes:
    parts = [
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file + b"\r\n" for file in files
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def make_ct(
    study: str = "",
    name: str = "Wang^Xiaodong=王^小东",
    rows: int = 64,
    syntax: str = ExplicitVRLittleEndian,
    sop_class: str = CT,
) -> tuple[bytes, Dataset]:
    """A small CT slice as a file, and the data set it was written from."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    data_set = Dataset()
    data_set.file_meta = meta
    data_set.preamble = bytes(128)  # without it pydicom writes a file that PS3.10 does not know
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.SOPClassUID = meta.MediaStorageSOPClassUID = sop_class
    data_set.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    data_set.StudyDate = "20240102"
    data_set.Modality = "CT"
    data_set.StudyDescription = "Chest & <b>lungs</b>"
    data_set.PatientName = name
    data_set.PatientID = "ID-4711"
    data_set.StudyInstanceUID = study or generate_uid()
    data_set.SeriesInstanceUID = generate_uid()
    data_set.InstanceNumber = 7
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows = data_set.Columns = rows
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit, data_set.PixelRepresentation = 15, 0
    pixels = bytes(range(256)) * (rows * rows * 2 // 256)
    data_set.PixelData = pixels
    data_set["PixelData"].VR = "OW"
    buffer = io.BytesIO()
    dcmwrite(buffer, data_set, enforce_file_format=True)
    return buffer.getvalue(), data_set
