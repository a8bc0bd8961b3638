"""The way to the archive: one film after the other over mutual TLS, each until the archive's receipt is there.

Rules, in order:
1. The archive is known by the authority of the enrolment and by its name; we show the edge's own certificate.
2. Films go in their order. The next one goes when the receipt of the one before was verified and is durable.
3. A receipt counts when the archive's log key signed it and it repeats this very entry. Anything else is trouble:
   the film stays, and is sent again after a wait that grows, with a random part so that edges do not come together.
4. A film that the archive refused for good is kept apart, and the others go on.
5. What waits is reported, so that the archive's people see an edge that has fallen silent.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ribcage.crypto.memory import SecretFile
from ribcage.evidence.edge_receipt import EdgeReceipt, check_receipt
from ribcage.evidence.errors import EvidenceError
from ribcage.evidence.note import VerifierKey
from ribcage.transfer.edge.errors import EdgeError
from ribcage.transfer.edge.home import EdgeHome
from ribcage.transfer.edge.limits import EdgeLimits
from ribcage.transfer.edge.spool import Spool, Waiting
from ribcage.transfer.tls import restrict

_BLOCK_BYTES = 1 << 20
_ANSWER_BYTES = 64 * 1024
_TYPE = "application/vnd.ribcage.edge"
_log = logging.getLogger("ribcage.edge")


class NotTaken(EdgeError):
    """The archive did not take it now; the text says why in words of a closed list."""


@dataclass
class LinkState:
    """How it goes with the archive. `trouble` '': well; times in Unix seconds, 0: never."""

    trouble: str = ""
    receipt_at: float = 0.0
    next_try_at: float = 0.0
    tries: int = 0


class ArchiveLink:
    """The connection, on one thread at a time. Raises NotTaken."""

    def __init__(self, home: EdgeHome) -> None:
        parts = urlsplit(home.enrolment.url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._seconds = home.plan.limits.answer_seconds
        self._key = VerifierKey.parse(home.enrolment.log_key)
        self._context = restrict(ssl.create_default_context(cadata=home.enrolment.authority_pem))
        with SecretFile(home.enrolment.certificate_pem.encode() + b"\n" + home.tls_key_pem) as secret:
            self._context.load_cert_chain(secret.path)
        self._connection: http.client.HTTPSConnection | None = None

    def send(self, one: Waiting) -> tuple[EdgeReceipt, bytes]:
        """One film; the verified receipt and its note. Blocking."""
        note = self._post("/edge/entries", _TYPE, one.path, one.file_bytes)
        try:
            return check_receipt(note, self._key, one.front), note
        except EvidenceError as failure:
            raise NotTaken("the archive answered with a receipt that does not hold") from failure

    def report(self, told: dict[str, float]) -> None:
        """What waits. Blocking."""
        self._post("/edge/state", "application/json", json.dumps(told).encode(), 0)

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, kind: str, body: Path | bytes, size: int) -> bytes:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._seconds, context=self._context
            )
        link = self._connection
        try:
            link.putrequest("POST", path)
            link.putheader("Content-Type", kind)
            link.putheader("Content-Length", str(size if isinstance(body, Path) else len(body)))
            link.endheaders()
            if isinstance(body, Path):
                with body.open("rb") as file:
                    while block := file.read(_BLOCK_BYTES):
                        link.send(block)
            else:
                link.send(body)
            answer = link.getresponse()
            text = answer.read(_ANSWER_BYTES)
            if answer.will_close:
                self.close()
        except ssl.SSLError as failure:
            self.close()
            raise NotTaken("TLS with the archive failed: its certificate, or ours") from failure
        except (OSError, http.client.HTTPException) as failure:
            self.close()
            raise NotTaken(f"the archive is not reached ({type(failure).__name__})") from failure
        if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.NO_CONTENT):
            self.close()
            raise NotTaken(f"the archive answered {answer.status}")
        return text


class Forwarder:
    """Sends what waits until it is cancelled."""

    def __init__(
        self, spool: Spool, link: ArchiveLink, limits: EdgeLimits, settled: Callable[[], None]
    ) -> None:
        self._spool, self._link, self._limits, self._settled = spool, link, limits, settled
        self._reported_at = 0.0
        self.arrived = asyncio.Event()
        self.state = LinkState()

    async def run(self) -> None:
        """For ever."""
        while True:
            self.arrived.clear()
            one = self._spool.oldest()
            try:
                if one is not None:
                    receipt, note = await asyncio.to_thread(self._link.send, one)
                    await asyncio.to_thread(self._spool.settle, one, receipt, note)
                    self.state = LinkState(receipt_at=time.time())
                    self._settled()
                await self._report()
            except NotTaken as failure:
                await self._wait(str(failure))
                continue
            except (OSError, EdgeError) as failure:
                _log.error("a film could not be read or settled: %s", type(failure).__name__)
                await self._wait("this edge's own disk fails")
                continue
            if one is None:
                await self._idle()

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(self._limits.report_seconds):
                await self.arrived.wait()
        except TimeoutError:
            return

    async def _report(self) -> None:
        """Rule 5."""
        now = time.monotonic()
        if self._reported_at and now - self._reported_at < self._limits.report_seconds:
            return
        depth = self._spool.depth()
        told = {
            "waiting": depth.waiting,
            "waiting_bytes": depth.waiting_bytes,
            "oldest_seconds": depth.oldest_seconds,
            "refused": depth.refused + depth.damaged,
        }
        await asyncio.to_thread(self._link.report, told)
        self._reported_at = now
        if self.state.trouble:
            self.state = LinkState(receipt_at=self.state.receipt_at)

    async def _wait(self, trouble: str) -> None:
        """Rule 3: at most twice as long as before, and never shorter than half of that."""
        tries, limits = self.state.tries + 1, self._limits
        most = min(limits.first_retry_seconds * 2 ** min(tries - 1, 30), limits.most_retry_seconds)
        seconds = most * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret
        self.state = LinkState(trouble, self.state.receipt_at, time.time() + seconds, tries)
        await asyncio.sleep(seconds)
