"""The event of an edge: it was trusted, its entries were opened for a while, or one was answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ribcage.evidence._agents import Actor, audit_event, entity
from ribcage.evidence.entry import AUDIT_TYPE, LIFECYCLE, Json, Stamp, coding, count, detail, identity, token


@dataclass(frozen=True)
class EdgeTold:
    """`change`: `trusted` by an operator, `opening` for the length of a lease, or what an entry's receipt says.

    `digest`: SHA-256 of the entry's front (`taken`, `refused`); of the signing key (`trusted`); else b"".
    """

    actor: Actor
    edge: bytes
    change: Literal["trusted", "opening", "taken", "refused"]
    sequence: int = 0
    digest: bytes = b""
    data_set_sha256: bytes = b""

    def to_entry(self, stamp: Stamp) -> Json:
        """FHIR type `object`, life cycle event `receive` (ISO 21089)."""
        details = [
            detail("change", token(self.change)),
            *([detail("data-set-sha256", identity(self.data_set_sha256))] if self.data_set_sha256 else []),
            *([detail("digest", identity(self.digest))] if self.digest else []),
            detail("sequence", count(self.sequence)),
        ]
        entry = audit_event(
            stamp,
            kind="edge-told",
            event=coding(AUDIT_TYPE, "object", "Object"),
            action="E",
            actor=self.actor,
            entities=[entity("edge", identity(self.edge), role=("4", "Domain Resource"), details=details)],
        )
        subtypes = entry["subtype"]
        if isinstance(subtypes, list):
            subtypes.append(coding(LIFECYCLE, "receive", "Receive/Retain"))
        return entry
