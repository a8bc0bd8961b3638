"""The listeners' certificate: issued again by the home's own authority, taken by running fronts at once.

Rules, in order:
1. It keeps the names it has, and takes more within the authority's constraints (RFC 5280 4.2.1.10).
2. The entry is durable before the certificate is replaced; certificate and key are replaced together.
3. Its key is a new one. Who trusts the authority notices nothing; who pinned the old certificate needs the new one.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime

from ribcage.crypto import authority
from ribcage.crypto.errors import CertificateRefused
from ribcage.evidence.audit_event import ConfigurationChanged
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.home import TLS_CHAIN_BLOB, TLS_KEY_BLOB, load_issuer, tls_identity
from ribcage.guard.protocol import CertificateRenewed, RenewCertificate, Response

SETTING = "listener-certificate"


class ListenerCertificate:
    """Renews it. `push` sends to every front."""

    def __init__(self, core: Core, push: Callable[[Response], None]) -> None:
        self._core = core
        self._push = push
        self._one_at_a_time = asyncio.Lock()

    async def renew(self, actor: Actor, request: RenewCertificate) -> CertificateRenewed:
        """A new certificate and key.

        Raises GuardRefused('invalid') for names that the authority may not give, 'conflict' when its term is over.
        """
        core = self._core
        async with self._one_at_a_time:
            issued = await asyncio.to_thread(self._issue, request)
            leaf = authority.read_certificate(issued.certificate_pem)
            await core.note(ConfigurationChanged(actor.evidence, SETTING))
            chain = issued.certificate_pem + load_issuer(core.keyring).certificate_pem
            key = (TLS_KEY_BLOB, issued.private_key_pem)
            await asyncio.to_thread(core.keyring.store_blob, TLS_CHAIN_BLOB, chain, key)
            self._push(tls_identity(core))
        names = list(authority.names_of(issued.certificate_pem))
        return CertificateRenewed(leaf.fingerprint, leaf.not_after.timestamp(), names)

    def _issue(self, request: RenewCertificate) -> authority.Issued:
        """Blocking: half a second for the key."""
        core = self._core
        now = datetime.fromtimestamp(core.clock_watch.trusted(), UTC)
        issuer = load_issuer(core.keyring)
        if now >= authority.read_certificate(issuer.certificate_pem).not_after:
            raise GuardRefused("conflict")
        old = authority.read_chain(core.keyring.load_blob(TLS_CHAIN_BLOB))[0]
        known = authority.names_of(old.pem)
        places = [name for name in known if _is_address(name)]
        try:
            return authority.issue_server(
                issuer,
                now=now,
                hostnames=[*(name for name in known if name not in places), *request.hostnames],
                addresses=[*places, *request.addresses],
            )
        except CertificateRefused as refused:
            raise GuardRefused("invalid") from refused


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
