"""`ribcage edge run`: plain DICOM in, the archive out, and a page that says how it goes.

Rules, in order:
1. It listens on loopback or on the one interface that was named, and its page on loopback alone.
2. A connection's first bytes have ARTIM's time; connections are bounded, in all and for each address.
3. The page holds numbers and words of closed lists: no name, no UID, no AE title. It takes no input.
4. On SIGTERM what is in hand is finished; on anything worse the spool is as durable as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from ribcage.transfer.dimse.association import DimseAssociation
from ribcage.transfer.edge.forward import ArchiveLink, Forwarder
from ribcage.transfer.edge.home import EdgeHome, lock
from ribcage.transfer.edge.service import EdgeService, EdgeSite
from ribcage.transfer.edge.spool import Spool, SpoolKeys

_DRAIN_SECONDS = 5.0
_DRAIN_STEP_SECONDS = 0.05
_PAGE_SECONDS = 5.0
_PAGE_REQUEST_BYTES = 4096
Ready = Callable[[tuple[str, int], tuple[str, int]], None]


async def serve_edge(home: EdgeHome, ready: Ready) -> None:
    """Serve until SIGTERM or SIGINT. `ready` gets DICOM's and the page's address. Raises EdgeError, OSError."""
    held = lock(home.folder)
    try:
        await Edge(home).run(ready)
    finally:
        os.close(held)


class Edge:
    """One running edge."""

    def __init__(self, home: EdgeHome) -> None:
        told = home.enrolment
        keys = SpoolKeys(told.edge, told.hospital, told.seal_key, home.signer, home.tag_key)
        self._home = home
        self._spool = Spool(home.folder, keys, home.plan.limits)
        modalities = {(each.ae_title, each.address): each for each in told.modalities}
        self._site = EdgeSite(self._spool, keys, home.plan.ae_title, modalities, home.plan.limits)
        self._link = ArchiveLink(home)
        self._forwarder = Forwarder(self._spool, self._link, home.plan.limits, self._site.pulse)
        self._site.taken = self._forwarder.arrived.set
        self._began = time.time()

    async def run(self, ready: Ready) -> None:
        """See `serve_edge`."""
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        plan = self._home.plan
        dicom = await loop.create_server(self._association, plan.address, plan.port, backlog=32)
        page = await asyncio.start_server(
            self._page, "127.0.0.1", plan.status_port, limit=_PAGE_REQUEST_BYTES
        )
        forwarding = loop.create_task(self._forwarder.run())
        try:
            ready(dicom.sockets[0].getsockname()[:2], page.sockets[0].getsockname()[:2])
            waiting = loop.create_task(stopping.wait())
            await asyncio.wait([waiting, forwarding], return_when=asyncio.FIRST_COMPLETED)
            if forwarding.done():
                await forwarding  # it never ends by itself: tell why
        finally:
            dicom.close()
            page.close()
            await self._drain()
            forwarding.cancel()
            await asyncio.gather(forwarding, return_exceptions=True)
            self._link.close()
            self._spool.close()

    def state(self) -> dict[str, Any]:
        """Numbers and words (rule 3)."""
        depth, link, first = self._spool.depth(), self._forwarder.state, self._spool.oldest()
        return {
            "running_since": int(self._began),
            "waiting": depth.waiting,
            "waiting_bytes": depth.waiting_bytes,
            "next_number": 0 if first is None else first.front.header.sequence,
            "oldest_seconds": int(depth.oldest_seconds),
            "refused": depth.refused,
            "damaged": depth.damaged,
            "archive": link.trouble or "well",
            "last_receipt": int(link.receipt_at),
            "next_try": int(link.next_try_at),
            "associations": len(self._site.associations),
            "turned_away": dict(self._site.refusals.counts),
        }

    def _association(self) -> DimseAssociation:
        return DimseAssociation(self._site, lambda _, address: EdgeService(self._site, address))

    async def _drain(self) -> None:
        self._site.draining = True
        for association in list(self._site.associations):
            association.drain()
        until = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        while self._site.associations and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(_DRAIN_STEP_SECONDS)
        for association in list(self._site.associations):
            association.kill()

    async def _page(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """GET / for people, GET /state.json for programs."""
        with contextlib.suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
        ):
            async with asyncio.timeout(_PAGE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(head.split(b"\r\n", 1)[0], self.state()))
                await writer.drain()
        writer.close()


def _answer(line: bytes, state: dict[str, Any]) -> bytes:
    if line.startswith(b"GET /state.json "):
        status, kind, body = "200 OK", "application/json", json.dumps(state)
    elif line.startswith(b"GET / "):
        status, kind, body = "200 OK", "text/html; charset=utf-8", _for_people(state)
    else:
        status, kind, body = "404 Not Found", "text/plain", "not here\n"
    data = body.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
        "Content-Security-Policy: default-src 'none'\r\n\r\n"
    )
    return head.encode("ascii") + data


def _for_people(state: dict[str, Any]) -> str:
    well = state["archive"] == "well" and not state["refused"] and not state["damaged"]
    word = "All films reach the archive. 影像正常上传。" if well else "Tell the administrator. 请联系管理员。"
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in state.items()
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Ribcage edge</title>"
        f"<h1>Ribcage edge 边缘网关</h1><p>{word}</p><table>{rows}</table></html>"
    )
