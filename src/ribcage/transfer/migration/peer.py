"""Whom the migration talks to, and whether in plain.

Rules, in order (DESIGN rules 3 and 4):
1. TLS is the default: `dicoms` and `https` verify the peer by the authority that the operator gives.
2. Plain (`dicom`, `http`) goes to loopback, or to the one address that the operator names as an isolated interface:
   literal and private. No name is asked of the network for it, and no setting widens it.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ribcage.transfer.migration.errors import PeerRefused, PlainRefused
from ribcage.transfer.tls import restrict

_PORTS = {"dicom": 104, "dicoms": 2762, "http": 80, "https": 443}


@dataclass(frozen=True)
class Pem:
    """Files of our identity towards a peer, and of the authority that vouches for the peer."""

    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None


@dataclass(frozen=True)
class Peer:
    """One end: `name` for messages, `context` None for plain. `path`: AE title, or the root of DICOMweb."""

    name: str
    scheme: str
    host: str
    port: int
    path: str
    context: ssl.SSLContext | None
    seconds: float = 60.0

    @property
    def web(self) -> bool:
        """Whether it speaks DICOMweb."""
        return self.scheme.startswith("http")


def parse_peer(name: str, url: str, pem: Pem, isolated: str = "") -> Peer:
    """`dicoms://HOST:PORT/AETITLE`, `https://HOST:PORT/ROOT`, or plain. Raises PlainRefused, PeerRefused."""
    try:
        parts = urlsplit(url if "://" in url else f"dicoms://{url}")
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port = "", 0
    if not host or not port or parts.username or parts.query:
        raise PeerRefused(
            f"{name}: expected an address like dicoms://HOST:PORT/AETITLE or https://HOST/dicom-web",
            "a plain one begins with dicom:// or http://",
        )
    if parts.scheme in ("dicom", "http"):
        check_plain(host, isolated)
        context = None
    else:
        context = tls_context(name, pem)
    return Peer(name, parts.scheme, host, port, parts.path.strip("/"), context)


def check_plain(host: str, isolated: str) -> None:
    """Rule 2. Raises PlainRefused."""
    try:
        address = ipaddress.ip_address(host)
        named = ipaddress.ip_address(isolated) if isolated else None
        if address.is_loopback or (address == named and address.is_private):
            return
    except ValueError:
        pass  # a name is no address
    raise PlainRefused(
        "plain DICOM or HTTP goes to loopback alone, or to a private address named as isolated",
        "use dicoms:// or https://; on a cable or VLAN of its own: --isolated ADDRESS, the same literal address",
    )


def tls_context(name: str, pem: Pem) -> ssl.SSLContext:
    """TLS as PS3.15 B.12 wants it. Raises PeerRefused."""
    authority = None if pem.authority is None else str(pem.authority)
    try:
        context = restrict(ssl.create_default_context(cafile=authority))
        if pem.certificate is not None:
            context.load_cert_chain(pem.certificate, pem.key)
    except (OSError, ssl.SSLError) as failure:
        raise PeerRefused(
            f"{name}: certificate, key or authority does not load ({failure.strerror or 'not PEM'})",
            "give the files that `ribcage device add --out` wrote",
        ) from failure
    return context


def receiving_context(name: str, pem: Pem) -> ssl.SSLContext:
    """TLS for our own listener: the old PACS must show a certificate of its authority. Raises PeerRefused."""
    context = restrict(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    try:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(str(pem.authority or ""))
        context.load_cert_chain(str(pem.certificate or ""), pem.key)
    except (OSError, ssl.SSLError) as failure:
        raise PeerRefused(
            f"{name}: certificate, key or authority does not load",
            "give --source-certificate, --source-key and --source-authority",
        ) from failure
    return context
