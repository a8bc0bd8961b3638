"""A device renews its certificate by itself: with the present one, over mutual TLS, for a key it proves to have.

Rules, in order (DESIGN rule 4):
1. Only a certificate of the home's own authority is renewed, for the same device: name, AE titles and rights stay.
2. The entry is durable before the new certificate is told. One at a time: a newer request replaces one never used.
3. The old certificate holds until the new one is first used, at most `renewal_days`; from the first use on it is a
   stranger's, its open associations are cut, and an entry says so.
4. A suspended device renews nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from ribcage.crypto import authority
from ribcage.crypto.errors import CertificateRefused
from ribcage.evidence.audit_event import DeviceActor, DeviceChanged
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.devices import KnownDevice, NewCertificate
from ribcage.guard.errors import GuardRefused
from ribcage.guard.home import AUTHORITY_BLOB, load_issuer, tls_identity
from ribcage.guard.protocol import Device, DeviceRenewed, RenewDevice, Response

_DAY_SECONDS = 86_400


class Renewals:
    """Issues and takes over. `push` sends to every front."""

    def __init__(self, core: Core, push: Callable[[Response], None]) -> None:
        self._core = core
        self._push = push

    async def renew(self, actor: Actor, request: RenewDevice) -> DeviceRenewed:
        """A certificate for the request's key.

        Raises GuardRefused('not_permitted' | 'conflict' | 'invalid' | 'throttled').
        """
        core = self._core
        if actor.device is None:
            raise GuardRefused("not_permitted")
        device_id, now = actor.device.device_id, core.clock_watch.trusted()
        if core.devices.row(device_id)["foreign_authority"]:
            raise GuardRefused("conflict")  # its own authority renews it; an operator registers it
        pending = core.devices.pending(device_id)
        if pending is not None and now < float(pending["issued_at"]) + core.limits.renewal_pause_seconds:
            raise GuardRefused("throttled")
        leaf = await asyncio.to_thread(self._issue, actor.device.name, request.csr_pem, now)
        info = authority.read_certificate(leaf)
        new = NewCertificate(
            info.fingerprint, info.pem, info.not_after, now, now + core.limits.renewal_days * _DAY_SECONDS
        )

        def write(tx: Transaction) -> None:
            core.devices.offer(tx, device_id, new)
            tx.append(core.entry(DeviceChanged(actor.evidence, info.fingerprint, "renewed")))

        await core.committer.run(write)
        self._refresh(device_id)
        chain = load_issuer(core.keyring).certificate_pem
        return DeviceRenewed(leaf + chain, core.keyring.load_blob(AUTHORITY_BLOB), new.not_after.timestamp())

    def _issue(self, name: str, csr_pem: bytes, now: float) -> bytes:
        issuer = load_issuer(self._core.keyring)
        try:
            return authority.issue_from_csr(issuer, name, csr_pem, now=datetime.fromtimestamp(now, UTC))
        except CertificateRefused as refused:
            raise GuardRefused("invalid") from refused

    async def used(self, shown: Device, known: KnownDevice) -> None:
        """A device was identified: where it showed its new certificate, that is the device's now (rule 3)."""
        core = self._core
        new = core.devices.pending(known.device_id)
        if new is None or bytes(new["fingerprint"]) != shown.fingerprint:
            return
        evidence = DeviceActor(shown.fingerprint, shown.address, shown.ae_title)

        def write(tx: Transaction) -> None:
            core.devices.take_over(tx, known.device_id)
            tx.append(core.entry(DeviceChanged(evidence, shown.fingerprint, "certificate")))

        await core.committer.run(write)
        self._refresh(known.device_id)
        self._push(tls_identity(core))

    def _refresh(self, device_id: bytes) -> None:
        with self._core.engine.connect() as connection:
            self._core.devices.refresh(connection, device_id)
