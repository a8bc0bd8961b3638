"""The unprotected twins: what the attacks look like where nothing stands against them.

Rules, in order:
1. Orthanc where it is installed, with its own temporary folder and ports; else the open archive in its place.
2. Nobody beyond this machine is let in: Orthanc cannot bind its DICOM port to loopback, so it is told to know
   three AE titles from 127.0.0.1 alone.
3. Each is stopped by its own process id, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ribcage.oversight.drill import open_archive
from ribcage.oversight.drill.attackers import dicom, kit
from ribcage.oversight.drill.open_web import OpenWeb
from ribcage.oversight.drill.procedures import copy_home
from ribcage.oversight.drill.target import (
    Cookie,
    Database,
    Holdings,
    Listener,
    Login,
    Modality,
    TargetDown,
    WaitingEdge,
)
from ribcage.oversight.studies import Study

KNOWN_AE = "VIEWER"
MODALITIES = ("CR1", "CT1")  # the AE titles of the two registered devices
OPEN_AE = "OPEN"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_ORTHANC = ("Orthanc", "/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc")


@dataclass(frozen=True)
class Stock:
    """What both twins hold, and what their attackers carry: `holdings` of the archive under drill give the rest."""

    studies: Sequence[Study]
    holdings: Holdings
    server: open_archive.Pair  # certificate of the twin's TLS listener, of no authority


class OpenTarget:
    """The open archive as a target. `tls` chooses which of its DICOM listeners is shown."""

    name = "open archive"
    configuration = "open"

    def __init__(self, folder: Path, stock: Stock, *, tls: bool) -> None:
        self._folder = folder
        self._stock = stock
        self._tls = tls
        self._running: tuple[open_archive.OpenDicom, OpenWeb] | None = None
        self._gateway: open_archive.OpenDicom | None = None
        shelf = open_archive.Shelf(folder)
        for study in stock.studies:
            shelf.store(study.file)
        held = stock.holdings
        for person in (held.intruder, held.doctor, held.forgetful):
            shelf.add_person(person.username, person.password, "clinician", person.totp_secret)
        self.start()

    def holdings(self) -> Holdings:
        """The archive's holdings with this twin's addresses and studies."""
        if self._running is None:
            raise TargetDown("the open archive is stopped")
        dicom, web = self._running
        return _stocked(
            self._stock,
            Listener("127.0.0.1", dicom.port, self._tls, "OPEN"),
            Listener("127.0.0.1", web.port, tls=False),
        )

    def steal_disk(self, into: Path) -> Path:
        """A copy of the whole folder."""
        copy_home(self._folder, into / "stolen")
        return into / "stolen"

    def open_session(self) -> Cookie:
        """The doctor's."""
        return self._log_in(self._stock.holdings.doctor)

    def granted_session(self) -> Cookie:
        """The same: there are no grants here."""
        return self.open_session()

    def revoke(self) -> None:
        """There is nothing to take back."""

    def waiting_edge(self) -> WaitingEdge:
        """A gateway as they are sold: plain files in a folder until the archive takes them. Any certificate does."""
        folder = self._folder.with_name(f"{self._folder.name}-gateway")
        if self._gateway is None:
            self._gateway = open_archive.OpenDicom(open_archive.Shelf(folder), None)
            listener = Listener("127.0.0.1", self._gateway.port, tls=False, called_ae=OPEN_AE)
            for file in self._stock.holdings.files:
                store_plain(listener, KNOWN_AE, Path(file).read_bytes())
        own = self._stock.holdings.own
        return WaitingEdge(folder, Modality(own.certificate, own.key, KNOWN_AE))

    def stop(self) -> None:
        """Close all listeners."""
        if self._gateway is not None:
            self._gateway.close()
            self._gateway = None
        if self._running is not None:
            for part in self._running:
                part.close()
            self._running = None

    def start(self) -> None:
        """Fresh workers on new ports; the doctor is logged in first, as session 1."""
        shelf = open_archive.Shelf(self._folder)
        self._running = (
            open_archive.OpenDicom(shelf, self._stock.server if self._tls else None),
            OpenWeb(shelf),
        )
        self._log_in(self._stock.holdings.doctor)

    def home(self) -> Path:
        """Its folder."""
        return self._folder

    def outside(self) -> list[Path]:
        """Nothing."""
        return []

    def database(self) -> Database:
        """A plain SQLite file."""
        return Database(str(self._folder / "archive.db"), "")

    def verify(self) -> list[str]:
        """It believes itself."""
        return []

    def _log_in(self, person: Login) -> Cookie:
        if self._running is None:
            raise TargetDown("the open archive is stopped")
        return Cookie("session", self._running[1].log_in(person.username, person.password))


class OrthancTarget:
    """Orthanc with open settings. It knows no sessions, grants or audit: only network and disk attacks run here."""

    configuration = "open"

    def __init__(self, folder: Path, stock: Stock | None, program: str, *, tls: bool = False) -> None:
        """`stock` None: empty, and nobody's target. `tls`: its DICOM listener; a certificate is checked if shown."""
        self.name = "Orthanc over TLS" if tls else "Orthanc"
        self._tls = tls
        self._folder = folder
        self._stock = stock
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._dicom_port, self._http_port = _free_port(), _free_port()
        (folder / "storage").mkdir(parents=True, exist_ok=True)
        self._settings = folder.parent / f"{folder.name}.json"
        self._settings.write_text(json.dumps(self._configuration()), encoding="utf-8")
        self.start()
        for study in stock.studies if stock is not None else ():
            self.store(study.file)

    @property
    def dicom_port(self) -> int:
        """Where it listens in plain."""
        return self._dicom_port

    def _configuration(self) -> dict[str, object]:
        more: dict[str, object] = {}
        if self._tls and self._stock is not None:
            more = {
                "DicomTlsEnabled": True,
                "DicomTlsCertificate": str(self._stock.server.certificate),
                "DicomTlsPrivateKey": str(self._stock.server.key),
                "DicomTlsTrustedCertificates": self._stock.holdings.ca,
                "DicomTlsRemoteCertificateRequired": False,
            }
        return more | {
            "Name": "open archive",
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "Plugins": [],
            "HttpPort": self._http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": OPEN_AE,
            "DicomPort": self._dicom_port,
            "DicomCheckCalledAet": False,
            "DicomCheckModalityHost": True,
            "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowStore": False,
            "DicomModalities": {
                title.lower(): [title, "127.0.0.1", 104] for title in (KNOWN_AE, *MODALITIES)
            },
            "SslEnabled": False,
        }

    def store(self, file: bytes) -> None:
        """Upload one file by its REST interface. Raises TargetDown."""
        if self._request("POST", "/instances", file) != 200:
            raise TargetDown("Orthanc did not take a study")

    def holdings(self) -> Holdings:
        """The archive's holdings with this twin's addresses."""
        if self._stock is None:
            raise TargetDown("this Orthanc holds nothing to attack")
        dicom = Listener("127.0.0.1", self._dicom_port, self._tls, OPEN_AE)
        return _stocked(self._stock, dicom, Listener("127.0.0.1", self._http_port, tls=False))

    def steal_disk(self, into: Path) -> Path:
        """A copy of storage and index."""
        copy_home(self._folder, into / "stolen")
        return into / "stolen"

    def open_session(self) -> Cookie:
        """Raises TargetDown: no sessions here."""
        raise TargetDown("Orthanc has no sessions in this configuration")

    def granted_session(self) -> Cookie:
        """Raises TargetDown: no grants here."""
        raise TargetDown("Orthanc has no grants")

    def revoke(self) -> None:
        """Raises TargetDown: no grants here."""
        raise TargetDown("Orthanc has no grants")

    def waiting_edge(self) -> WaitingEdge:
        """Raises TargetDown: nothing stands beside it."""
        raise TargetDown("Orthanc has no gateway")

    def stop(self) -> None:
        """End the process that was started here."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def start(self) -> None:
        """Start and wait until HTTP answers. Raises TargetDown."""
        self._process = subprocess.Popen(  # its own program, its own settings
            [self._program, str(self._settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._request("GET", "/system") == 200:
                    return
            time.sleep(0.05)
        self.stop()
        raise TargetDown("Orthanc did not start")

    def home(self) -> Path:
        """Its folder."""
        return self._folder

    def outside(self) -> list[Path]:
        """Nothing."""
        return []

    def database(self) -> Database:
        """A plain SQLite file."""
        return Database(str(self._folder / "storage" / "index"), "")

    def verify(self) -> list[str]:
        """It has no such thing."""
        return []

    def _request(self, method: str, path: str, body: bytes | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=10)
        try:
            connection.request(method, path, body=body, headers={"Expect": ""} if body else {})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()


Twin = OpenTarget | OrthancTarget


def find_orthanc() -> str:
    """Path of the program, '' when it is not installed."""
    return next((found for name in _ORTHANC if (found := shutil.which(name))), "")


@contextlib.contextmanager
def running_pacs() -> Iterator[OrthancTarget]:
    """An empty Orthanc in a temporary folder, to stand behind a shield. Raises TargetDown where there is none."""
    program = find_orthanc()
    if not program:
        raise TargetDown("Orthanc is not installed: apt-get install orthanc")
    with tempfile.TemporaryDirectory(prefix="ribcage-pacs-") as folder:
        pacs = OrthancTarget(Path(folder) / "orthanc", None, program)
        try:
            yield pacs
        finally:
            pacs.stop()


@contextlib.contextmanager
def running_orthanc_over_tls(stock: Stock) -> Iterator[OrthancTarget]:
    """An Orthanc that speaks DICOM TLS with whoever shows no certificate, or one of the archive's own authority.

    Raises TargetDown where there is none.
    """
    program = find_orthanc()
    if not program:
        raise TargetDown("Orthanc is not installed: apt-get install orthanc")
    with tempfile.TemporaryDirectory(prefix="ribcage-twin-") as folder:
        orthanc = OrthancTarget(Path(folder) / "orthanc", stock, program, tls=True)
        try:
            yield orthanc
        finally:
            orthanc.stop()


@contextlib.contextmanager
def running_twins(stock: Stock, *, orthanc: bool = True) -> Iterator[dict[str, Twin]]:
    """Both twins in a temporary folder: 'archive' (Orthanc if installed and wanted) and 'open'."""
    program = find_orthanc() if orthanc else ""
    with tempfile.TemporaryDirectory(prefix="ribcage-twin-") as folder, contextlib.ExitStack() as stack:
        root = Path(folder)
        archive: Twin
        if program:
            archive = OrthancTarget(root / "orthanc", stock, program)
        else:
            archive = OpenTarget(root / "plain", stock, tls=False)
        stack.callback(archive.stop)
        open_one = OpenTarget(root / "open", stock, tls=True)
        stack.callback(open_one.stop)
        yield {"archive": archive, "open": open_one}


def store_plain(there: Listener, ae: str, file: bytes) -> None:
    """C-STORE in clear, as an old modality does it. Raises TargetDown when it is not acknowledged."""
    part = dicom.split_file(file)
    try:
        sender = dicom.open_association({"dicom": vars(there)}, ae, [(part.sop_class, part.syntax)])
        status = sender.store(part)
        sender.release()
    except (OSError, kit.GaveUp) as failure:
        raise TargetDown(f"a plain film was not taken: {kit.plain(failure)}") from failure
    if status != 0:
        raise TargetDown(f"a plain film was not taken: status {status:04X}")


def _stocked(stock: Stock, dicom: Listener, web: Listener) -> Holdings:
    """The holdings at this twin's addresses. Its certificate is nobody's, so there is no authority to check."""
    return replace(stock.holdings, dicom=dicom, web=web, ca="", known_ae=KNOWN_AE)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
