"""The HL7 listener asks nobody for a certificate, and whoever comes is the hospital's system."""

from __future__ import annotations

import ssl
from typing import Any

from attacks.patches._put import Put
from attacks.patches.no_client_certificate import _Transport
from ribcage.guard.devices import Devices, KnownDevice
from ribcage.guard.protocol import TlsIdentity
from ribcage.transfer import tls
from ribcage.transfer.hl7.connection import Hl7Connection


def apply(put: Put) -> None:
    strict, made = tls.server_context, Hl7Connection.connection_made

    def server_context(identity: TlsIdentity, listener: Any) -> ssl.SSLContext:
        context = strict(identity, listener)
        context.verify_mode = ssl.CERT_NONE
        return context

    def identify(_self: Devices, _fingerprint: bytes, _title: str | None, _now: float) -> KnownDevice:
        return KnownDevice(bytes(16), "anybody", frozenset({""}), frozenset({"his"}), "radiology")

    put(tls, "server_context", server_context)
    put(Hl7Connection, "connection_made", lambda self, transport: made(self, _Transport(transport)))
    put(Devices, "identify", identify)
