"""The archives we stand beside: Debian's Orthanc and DCMTK's storescp, each in a process and a folder of its own.

Orthanc 1.10.1 crashes with its own HTTPS, so its DICOMweb twin over TLS stands behind stunnel, which is named in the
figures. Both write without waiting for the disk and keep everything in clear.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from films import PDU_BYTES, Target
from harness import Run

from helpers.archive import Identity

ORTHANC = "/usr/sbin/Orthanc"
STORESCP = "/usr/bin/storescp"
STUNNEL = "/usr/bin/stunnel4"
DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
_START_SECONDS = 15.0


@dataclass(frozen=True)
class Orthanc:
    """A running one: where it takes C-STORE, and its HTTP ports in clear and behind stunnel (0: none)."""

    target: Target
    http: int
    https: int

    def instances(self) -> int:
        """How many it says it holds."""
        return int(self.get("/statistics")["CountInstances"])

    def get(self, path: str) -> Any:
        """One answer of its REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=60) as answer:
            return json.load(answer)


@contextlib.contextmanager
def orthanc(run: Run, scu: Identity) -> Iterator[Orthanc | None]:
    """Orthanc with mutual TLS for DICOM; None where it is not installed."""
    if not Path(ORTHANC).exists():
        run.missing.append("Orthanc (apt-get install orthanc)")
        yield None
        return
    place = run.folder / "orthanc"
    place.mkdir()
    dicom, http = free_port(), free_port()
    web = Path(DICOMWEB).exists()
    if not web:
        run.missing.append("Orthanc's DICOMweb (apt-get install orthanc-dicomweb)")
    settings = {
        "StorageDirectory": str(place / "db"),
        "IndexDirectory": str(place / "db"),
        "HttpServerEnabled": True,
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(scu.certificate),
        "DicomTlsPrivateKey": str(scu.key),
        "DicomTlsTrustedCertificates": str(scu.authority),
        "DicomAlwaysAllowStore": True,
        "MaximumPduLength": PDU_BYTES,
        "TcpNoDelay": True,
        "Plugins": [DICOMWEB] if web else [],
    }
    (place / "orthanc.json").write_text(json.dumps(settings))
    with _running(place, [ORTHANC, str(place / "orthanc.json")], dicom, http) as process:
        target = Target("Orthanc", dicom, "ORTHANC", process)
        with _terminator(run, scu, http) as https:
            yield Orthanc(target, http, https)


@contextlib.contextmanager
def storescp(run: Run, scu: Identity) -> Iterator[Target | None]:
    """DCMTK's storescp with mutual TLS, writing files; None where it is not installed."""
    if not Path(STORESCP).exists():
        run.missing.append("storescp (apt-get install dcmtk)")
        yield None
        return
    place = run.folder / "storescp"
    (place / "files").mkdir(parents=True)
    port = free_port()
    command = [STORESCP, "+tls", str(scu.key), str(scu.certificate), "+cf", str(scu.authority)]
    command += ["--max-pdu", str(PDU_BYTES), "-od", str(place / "files"), str(port)]
    with _running(place, command, port) as process:
        yield Target("storescp", port, "STORESCP", process)


def stored_by(place: Path) -> int:
    """Files that storescp wrote."""
    return sum(1 for _ in (place / "storescp" / "files").iterdir())


@contextlib.contextmanager
def _terminator(run: Run, scu: Identity, behind: int) -> Iterator[int]:
    if not Path(STUNNEL).exists():
        run.missing.append("stunnel (apt-get install stunnel4)")
        yield 0
        return
    place = run.folder / "stunnel"
    place.mkdir()
    port = free_port()
    (place / "both.pem").write_bytes(scu.key.read_bytes() + b"\n" + scu.certificate.read_bytes())
    (place / "both.pem").chmod(0o600)
    (place / "stunnel.conf").write_text(
        f"foreground = yes\npid =\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
        f"[orthanc]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{behind}\ncert = {place / 'both.pem'}\n"
        f"CAfile = {scu.authority}\nverifyChain = yes\n"
    )
    with _running(place, [STUNNEL, str(place / "stunnel.conf")], port):
        yield port


@contextlib.contextmanager
def _running(place: Path, command: list[str], *ports: int) -> Iterator[int]:
    """A process until its ports answer; ended afterwards, with its folder."""
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ, TCP_NODELAY="1"))
    try:
        for port in ports:
            _wait(process, port, place / "log")
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(place, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} does not listen: {log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
