"""The event of a migration: its completeness report was made."""

from __future__ import annotations

from dataclasses import dataclass

from ribcage.evidence._agents import Actor, audit_event, entity
from ribcage.evidence.entry import AUDIT_TYPE, LIFECYCLE, Json, Stamp, coding, count, detail, identity, token
from ribcage.evidence.migration_report import Totals


@dataclass(frozen=True)
class MigrationReported:
    """A report was made; `digest` is the SHA-256 of its text, `source` the protocol."""

    actor: Actor
    source: str
    digest: bytes
    totals: Totals

    def to_entry(self, stamp: Stamp) -> Json:
        """FHIR type `object`, life cycle event `receive` (ISO 21089)."""
        numbers = [detail(name, count(value)) for name, value in self.totals.numbers().items()]
        entry = audit_event(
            stamp,
            kind="migration-reported",
            event=coding(AUDIT_TYPE, "object", "Object"),
            action="E",
            actor=self.actor,
            entities=[
                entity(
                    "source",
                    token(self.source),
                    role=("4", "Domain Resource"),
                    details=[detail("digest", identity(self.digest)), *numbers],
                )
            ],
        )
        subtypes = entry["subtype"]
        if isinstance(subtypes, list):
            subtypes.append(coding(LIFECYCLE, "receive", "Receive/Retain"))
        return entry
