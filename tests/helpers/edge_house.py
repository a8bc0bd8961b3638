"""A real edge on loopback as a process of its own, enrolled at a real archive; DCMTK's storescu is the modality."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from helpers import raw_scu
from helpers.archive import TESTS, Archive
from helpers.guard_house import CHEAP
from ribcage.cli import settings
from ribcage.cli.edge import enrolment_of
from ribcage.guard import protocol as p
from ribcage.transfer.edge.home import EdgePlan, Enrolment, Request, create_edge, enrol, open_edge
from ribcage.transfer.edge.limits import EdgeLimits
from system.senders import Instance

EDGE_PASSPHRASE = b"the edge has a passphrase of its own"
EDGE_AE, MODALITY = "EDGEROOM17", "DXROOM17"  # long enough to be searched for
QUICK = EdgeLimits(
    first_retry_seconds=0.05,
    most_retry_seconds=0.4,
    report_seconds=0.3,
    answer_seconds=20,
    min_free_bytes=1 << 20,
)
_MAIN = "import sys; from ribcage.cli.main import main; sys.exit(main(sys.argv[1:]))"
_START_SECONDS = 30


@dataclass
class EdgeProcess:
    """`ribcage edge run` on a home in a temporary folder; its ports stay the same over restarts."""

    home: Path
    limits: EdgeLimits = QUICK
    address: str = "127.0.0.1"
    isolated: str = ""
    prefix: Sequence[str] = ()  # before the program: `ip netns exec NAME`
    request: Request | None = None
    enrolment: Enrolment | None = None
    dicom: tuple[str, int] = ("", 0)
    page: tuple[str, int] = ("", 0)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def create(self) -> Request:
        plan = EdgePlan(
            EDGE_AE, self.address, free_port(), self.isolated, free_port(), limits=self.limits, cost=CHEAP
        )
        self.request = create_edge(self.home, EDGE_PASSPHRASE, plan)
        return self.request

    def enrol(self, archive: Archive, name: str = "edge-1", url: str = "", **places: str) -> Enrolment:
        """At both sides; `places`: AE titles and where they call from."""
        assert self.request is not None
        places = places or {MODALITY: "127.0.0.1"}
        asked = p.TrustEdge(
            name,
            self.request.ae_title,
            self.request.csr_pem.encode(),
            self.request.signing_key,
            [p.EdgeModality(title) for title in places],
        )
        told = archive.ask(asked, p.EdgeTrusted)
        url = url or f"https://localhost:{archive.https[1]}"
        self.enrolment = enrolment_of(told, url, places)
        enrol(self.home, EDGE_PASSPHRASE, self.enrolment)
        return self.enrolment

    def start(self) -> None:
        """Start and wait for the ready line."""
        read, write = os.pipe()
        os.write(write, EDGE_PASSPHRASE)
        os.close(write)
        command = ["edge", "run", "--quiet", "--home", str(self.home), "--passphrase-fd", str(read)]
        self.process = subprocess.Popen(
            [*self.prefix, sys.executable, "-c", _MAIN, *command],
            pass_fds=(read,),
            stdout=subprocess.PIPE,
            stderr=self.home.with_name(self.home.name + ".log").open("ab"),
            env=dict(os.environ, PYTHONPATH=str(TESTS)),
        )
        os.close(read)
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], _START_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(self.home.with_name(self.home.name + ".log").read_text())
        where = json.loads(line)
        self.dicom, self.page = tuple(where["dicom"]), tuple(where["page"])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def state(self) -> dict[str, Any]:
        """What the page says to programs."""
        with urllib.request.urlopen(f"http://{self.page[0]}:{self.page[1]}/state.json", timeout=10) as answer:
            told: dict[str, Any] = json.loads(answer.read())
            return told

    def until(self, good: Callable[[dict[str, Any]], bool], seconds: float = 60.0) -> dict[str, Any]:
        """Ask the page until it says so. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not good(state := self.state()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the edge says {state}")
            time.sleep(0.05)
        return state

    def until_sent(self, seconds: float = 60.0) -> dict[str, Any]:
        """Until nothing waits and the archive answered."""
        return self.until(lambda state: not state["waiting"] and state["archive"] == "well", seconds)

    def store(self, one: Instance, calling: str = MODALITY) -> int:
        """C-STORE of one film, plain; the status."""
        return raw_scu.store(
            self.dicom, None, calling, EDGE_AE, one.sop_class, one.uid, one.transfer_syntax, one.data_set
        )

    def credential(self, folder: Path) -> ssl.SSLContext:
        """TLS as this edge: what a thief has who has its passphrase."""
        held = open_edge(self.home, EDGE_PASSPHRASE)
        folder.mkdir(exist_ok=True)
        (folder / "edge.crt").write_text(held.enrolment.certificate_pem)
        (folder / "edge.key").write_bytes(held.tls_key_pem)
        context = ssl.create_default_context(cadata=held.enrolment.authority_pem)
        context.load_cert_chain(folder / "edge.crt", folder / "edge.key")
        return context

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`ribcage edge …` at this home."""
        command = [sys.executable, "-c", _MAIN, "edge", *words, "--home", str(self.home)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def keep_ports(archive: Archive) -> None:
    """The running archive listens where it is after its next start too."""
    wanted = settings.load(archive.home)
    listen = structs.replace(wanted.listen, dicom_port=archive.dicom[1], https_port=archive.https[1])
    settings.save(archive.home, structs.replace(wanted, listen=listen))


def free_port() -> int:
    """A port of loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def new_edge(folder: Path, archive: Archive, **more: Any) -> Iterator[EdgeProcess]:
    """A fresh edge, enrolled and running."""
    edge = EdgeProcess(folder / "edge", **more)
    edge.create()
    edge.enrol(archive)
    edge.start()
    try:
        yield edge
    finally:
        edge.stop()
