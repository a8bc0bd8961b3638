"""A device's own listener for N-EVENT-REPORT: pynetdicom over mutual TLS, with its registered certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE, evt

from helpers.retrieve_peers import SECONDS
from ribcage.crypto.authority import Issued
from ribcage.crypto.memory import SecretFile
from ribcage.dicom.sop_classes import STORAGE_COMMITMENT_PUSH, VERIFICATION


@dataclass
class Heard:
    """Event types and data sets, and the roles that the archive proposed: (SCU, SCP)."""

    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    roles: list[tuple[bool, bool]] = field(default_factory=list)


def tls_of(leaf: Issued, trusted_pem: bytes) -> ssl.SSLContext:
    """A listener that demands the archive's certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    tls.load_verify_locations(cadata=trusted_pem.decode())
    with SecretFile(leaf.certificate_pem + b"\n" + leaf.private_key_pem) as secret:
        tls.load_cert_chain(secret.path)
    return tls


@contextlib.asynccontextmanager
async def listening(
    title: str, tls: ssl.SSLContext | None, *, status: int = 0, port: int = 0, role: bool = True
) -> AsyncIterator[tuple[Heard, int]]:
    """What it heard, and its port. `role`: whether it takes the archive as SCP. Without `tls` it is plain."""
    heard = Heard()

    def report(event: evt.Event) -> tuple[int, None]:
        heard.reports.append((event.event_type, event.event_information))
        return status, None

    def asked(event: evt.Event) -> None:
        for uid, item in event.assoc.requestor.role_selection.items():
            if uid == STORAGE_COMMITMENT_PUSH:
                heard.roles.append((bool(item.scu_role), bool(item.scp_role)))

    ae = AE(title)
    ae.require_called_aet = True
    if role:
        ae.add_supported_context(STORAGE_COMMITMENT_PUSH, scu_role=False, scp_role=True)
    ae.add_supported_context(VERIFICATION)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = SECONDS
    handlers = [(evt.EVT_N_EVENT_REPORT, report), (evt.EVT_REQUESTED, asked)]
    server = ae.start_server(("127.0.0.1", port), block=False, ssl_context=tls, evt_handlers=handlers)
    assert server is not None
    try:
        yield heard, server.socket.getsockname()[1]
    finally:
        await asyncio.to_thread(server.shutdown)  # it waits for handshakes, whose other end is this loop's
