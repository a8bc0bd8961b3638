"""A throw-away edge as a process of its own beside a plain modality, for drill and demo.

Rules, in order:
1. Its line to the archive is cut: the address it was given is held, and nobody listens there, until `mend`.
2. Its passphrase is random and goes to it by an inherited descriptor; what a thief gets of it is written elsewhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from ribcage.cli.edge import enrolment_of
from ribcage.cli.own_process import OwnProcess
from ribcage.crypto.provider import Argon2Parameters
from ribcage.guard import protocol as p
from ribcage.oversight.drill.attackers.wire_tap import Relay
from ribcage.oversight.drill.target import Listener, Modality, TargetDown
from ribcage.oversight.drill.twin import store_plain
from ribcage.transfer.edge.home import EdgePlan, create_edge, enrol, open_edge
from ribcage.transfer.edge.limits import EdgeLimits
from ribcage.transfer.edge.spool import read_receipts

EDGE_AE, MODALITY_AE = "EDGEROOM3", "OLDXRAY3"
_LOOPBACK = "127.0.0.1"
_LIMITS = EdgeLimits(
    first_retry_seconds=0.1, most_retry_seconds=0.4, answer_seconds=20.0, min_free_bytes=1024**2
)
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_SENT_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_STATE_BYTES = 64 * 1024
Ask = Callable[[p.TrustEdge, type[p.EdgeTrusted]], p.EdgeTrusted]


class EdgeGround:
    """An edge that an archive trusts and that cannot reach it yet."""

    def __init__(self, folder: Path, name: str, cost: Argon2Parameters, ask: Ask) -> None:
        """Make, enrol and start it, below `folder`. `ask`: the archive's operator. Raises TargetDown, GuardError."""
        self.home = folder / name
        self._passphrase = secrets.token_urlsafe(32).encode()
        self._relay: Relay | None = None
        self._line = socket.socket()
        self._line.bind((_LOOPBACK, 0))
        plan = EdgePlan(EDGE_AE, port=0, status_port=0, limits=_LIMITS, cost=cost)
        request = create_edge(self.home, self._passphrase, plan)
        modality = [p.EdgeModality(MODALITY_AE)]
        csr = request.csr_pem.encode()
        told = ask(p.TrustEdge(name, request.ae_title, csr, request.signing_key, modality), p.EdgeTrusted)
        url = f"https://localhost:{self._line.getsockname()[1]}"
        enrol(self.home, self._passphrase, enrolment_of(told, url, {MODALITY_AE: _LOOPBACK}))
        self.log_key = told.log_key
        self.signing_key = base64.b64encode(request.signing_key).decode()
        self.credential = self._stolen(folder / f"{name}-stolen")
        self._process = OwnProcess(
            ("edge", "run", "--quiet", "--home", str(self.home)),
            start_seconds=_START_SECONDS,
            stop_seconds=_STOP_SECONDS,
        )
        self._start(folder / f"{name}.log")

    def _stolen(self, folder: Path) -> Modality:
        """Certificate and key as files: what a thief has who has the passphrase too."""
        opened = open_edge(self.home, self._passphrase)
        folder.mkdir()
        certificate, key = folder / "edge.crt", folder / "edge.key"
        certificate.write_text(opened.enrolment.certificate_pem, encoding="ascii")
        key.write_bytes(opened.tls_key_pem)
        return Modality(str(certificate), str(key), EDGE_AE)

    def _start(self, log: Path) -> None:
        with log.open("ab") as errors:
            line = self._process.start(self._passphrase, errors)
        if not line:
            self.stop()
            raise TargetDown("the edge did not start")
        where = json.loads(line)
        self._dicom = Listener(where["dicom"][0], where["dicom"][1], tls=False, called_ae=EDGE_AE)
        self._page = int(where["page"][1])

    def take(self, file: bytes) -> float:
        """The modality stores a film in plain; milliseconds until the edge acknowledged it. Raises TargetDown."""
        started = time.perf_counter()
        store_plain(self._dicom, MODALITY_AE, file)
        return (time.perf_counter() - started) * 1000

    def mend(self, archive: tuple[str, int]) -> None:
        """From now on the line ends at the archive."""
        port = int(self._line.getsockname()[1])
        self._line.close()
        self._relay = Relay(archive, port)

    def copied(self) -> bytes:
        """What passed on the line, both ways."""
        return b"\n".join(bytes(copy) for copy in self._relay.copies) if self._relay is not None else b""

    def until_sent(self) -> float:
        """Wait until nothing waits; milliseconds. Raises TargetDown."""
        started = time.perf_counter()
        while self.waiting():
            if time.perf_counter() - started > _SENT_SECONDS:
                raise TargetDown("the edge did not get its films through")
            time.sleep(_LOOK_SECONDS)
        return (time.perf_counter() - started) * 1000

    def waiting(self) -> int:
        """How many films wait, as its page says."""
        link = http.client.HTTPConnection(_LOOPBACK, self._page, timeout=_START_SECONDS)
        try:
            link.request("GET", "/state.json")
            return int(json.loads(link.getresponse().read(_STATE_BYTES))["waiting"])
        except (OSError, http.client.HTTPException) as failure:
            raise TargetDown(f"the edge's page does not answer ({type(failure).__name__})") from failure
        finally:
            link.close()

    def receipt(self) -> bytes:
        """The newest. Raises TargetDown when there is none."""
        kept = read_receipts(self.home)
        if not kept:
            raise TargetDown("the edge has no receipt")
        return kept[-1][1]

    def stop(self) -> None:
        """Stop it, and let the line go."""
        self._process.stop()
        self._line.close()
        if self._relay is not None:
            self._relay.close()
            self._relay = None
