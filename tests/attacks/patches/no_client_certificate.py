"""The DICOM listener asks nobody for a certificate, and an association without one goes on."""

from __future__ import annotations

import ssl
from typing import Any

from attacks.patches._put import Put
from ribcage.guard.protocol import TlsIdentity
from ribcage.transfer import tls
from ribcage.transfer.dimse.association import DimseAssociation


class _Anybody:
    """Stands for the TLS object of a peer that showed nothing."""

    def getpeercert(self, _binary: bool) -> bytes:
        return b"anybody"


class _Transport:
    """A transport whose peer seems to have a certificate."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def get_extra_info(self, name: str) -> Any:
        return _Anybody() if name == "ssl_object" else self._transport.get_extra_info(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def apply(put: Put) -> None:
    strict, made = tls.server_context, DimseAssociation.connection_made

    def server_context(identity: TlsIdentity, listener: str) -> ssl.SSLContext:
        context = strict(identity, listener)
        context.verify_mode = ssl.CERT_NONE
        return context

    put(tls, "server_context", server_context)
    put(DimseAssociation, "connection_made", lambda self, transport: made(self, _Transport(transport)))
