"""Edges and their entries against a guard of a test's own: what an edge signs, and what a thief would."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from helpers.guard_house import House, attributes
from ribcage.crypto import authority, hybrid
from ribcage.crypto.signing import Signer
from ribcage.evidence.edge_entry import EntryFront, EntryHeader, key_info
from ribcage.guard import protocol as p

MODALITY = "DXROOM17"


@dataclass
class Enrolled:
    """A trusted edge with one modality behind it."""

    name: str
    told: p.EdgeTrusted
    signer: Signer
    csr_pem: bytes

    @property
    def credential(self) -> p.Device:
        """What its TLS certificate makes of whoever holds its key."""
        leaf = (
            self.told.certificate_pem.split(b"-----END CERTIFICATE-----\n")[0]
            + b"-----END CERTIFICATE-----\n"
        )
        return p.Device(authority.fingerprint(leaf), "", "127.0.0.1")

    @property
    def device(self) -> bytes:
        """The modality's id."""
        return self.told.modalities[0].device

    def header(self, sequence: int, data: bytes, **more: bytes) -> EntryHeader:
        values = {
            "edge": self.told.edge,
            "device": self.device,
            "archive_key": hybrid.key_id(self.told.seal_key),
            "object_id": os.urandom(16),
            "tag": os.urandom(16),
            "data_set_sha256": hashlib.sha256(data).digest(),
            "sealed_sha256": bytes(32),
        }
        return EntryHeader(sequence=sequence, taken_ms=1, sealed_bytes=200, **(values | more))

    def front(
        self, sequence: int, data: bytes = b"film", signer: Signer | None = None, **more: bytes
    ) -> bytes:
        """All before the sealed bytes, signed."""
        header = self.header(sequence, data, **more)
        wrapped = hybrid.seal_key(self.told.seal_key, bytes(range(32)), key_info(header))
        return EntryFront.sign(header, wrapped, signer or self.signer).encode()


async def enrolled(house: House, name: str = "edge-1", *titles: str) -> Enrolled:
    """Trust a new edge."""
    signer, csr = Signer(os.urandom(32)), authority.make_request("Ribcage edge").certificate_pem
    modalities = [p.EdgeModality(title) for title in titles or (MODALITY,)]
    request = p.TrustEdge(name, name.upper(), csr, signer.public_key, modalities)
    return Enrolled(name, await house.admin.call(request, p.EdgeTrusted), signer, csr)


async def bring(house: House, edge: Enrolled, sequence: int, number: int = 1, data: bytes = b"film") -> bytes:
    """One film, all the way; the receipt."""
    front = edge.front(sequence, data)
    opened = await house.front.call(p.OpenEdgeEntry(edge.credential, front), p.EdgeEntryOpened)
    await house.store(opened.device, attributes(number), data)
    over = p.EdgeEntryOver(edge.credential, front, attributes(number).sop_instance_uid)
    return (await house.front.call(over, p.EdgeAnswer)).receipt
