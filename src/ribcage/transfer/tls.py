"""TLS contexts after PS3.15 B.12 (BCP 195: RFC 8996, RFC 9325): TLS 1.2 and 1.3, forward secrecy, AEAD only.

Rules, in order (DESIGN rules 3 and 4):
1. The DICOM and HL7 listeners require a client certificate, the HTTPS listener asks for one; all verify what comes.
2. Every handshake is a full one: no tickets, and no context serves two connections (`TlsContexts.fresh`), because
   the session cache of OpenSSL cannot be switched off from Python. So a certificate is seen each time.
3. A registered leaf of a foreign authority is trusted by itself (`VERIFY_X509_PARTIAL_CHAIN`); its authority and
   its siblings are not.
4. The private key goes through sealed memory, never through a file on a disk.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal

from ribcage.crypto.memory import SecretFile
from ribcage.guard.protocol import TlsIdentity
from ribcage.transfer.errors import IdentityUnusable
from ribcage.transfer.limits import Listener

CIPHERS = ":".join(
    [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ]
)
HandshakeFailure = Literal["timeout", "no_certificate", "plain_bytes", "handshake"]
_PLAIN_BYTES = frozenset(
    {
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
    }
)


def restrict(context: ssl.SSLContext) -> ssl.SSLContext:
    """The profile's versions and ciphers, for either side; returns the context."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    return context


def server_context(identity: TlsIdentity, listener: Listener) -> ssl.SSLContext:
    """A context for one listener. Raises IdentityUnusable."""
    context = restrict(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.num_tickets = 0
    context.options |= (
        ssl.OP_NO_TICKET
        | ssl.OP_NO_COMPRESSION
        | ssl.OP_NO_RENEGOTIATION
        | ssl.OP_CIPHER_SERVER_PREFERENCE
        | ssl.OP_SINGLE_ECDH_USE
    )
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_OPTIONAL if listener == "https" else ssl.CERT_REQUIRED
    if listener == "https":
        context.set_alpn_protocols(["http/1.1"])
    trusted = identity.client_authorities_pem + b"\n" + identity.registered_leaves_pem
    try:
        context.load_verify_locations(cadata=trusted.decode("ascii"))
    except (ssl.SSLError, OSError, ValueError) as failure:
        raise IdentityUnusable(
            "the TLS identity from the guard does not load; run `ribcage verify`"
        ) from failure
    load_own(context, identity)
    return context


def load_own(context: ssl.SSLContext, identity: TlsIdentity) -> None:
    """Give a context the archive's certificate and key. Raises IdentityUnusable."""
    try:
        with SecretFile(identity.certificate_chain_pem + b"\n" + identity.private_key_pem) as secret:
            context.load_cert_chain(secret.path)
    except (ssl.SSLError, OSError, ValueError) as failure:
        raise IdentityUnusable(
            "the TLS identity from the guard does not load; run `ribcage verify`"
        ) from failure


@dataclass(frozen=True)
class TlsContexts:
    """Contexts made from one identity; replaced as a whole when the registry of devices changes."""

    identity: TlsIdentity = field(repr=False)

    def __post_init__(self) -> None:
        for listener in ("dicom", "https", "hl7"):
            server_context(self.identity, listener)  # a broken identity fails here

    def fresh(self, listener: Listener) -> ssl.SSLContext:
        """A context for one connection (rule 2)."""
        return server_context(self.identity, listener)


def classify(failure: OSError) -> HandshakeFailure:
    """Why a handshake failed, as the `kind` of a `Refusal`."""
    if isinstance(failure, TimeoutError) or "longer than" in str(failure):
        return "timeout"
    reason = str(getattr(failure, "reason", "") or "")
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "no_certificate"
    if reason in _PLAIN_BYTES:
        return "plain_bytes"
    return "handshake"
