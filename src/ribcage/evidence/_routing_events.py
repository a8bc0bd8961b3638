"""Events about what is sent where by itself: routing rules, jobs of the sending queue (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ribcage.evidence._agents import Actor, audit_event, entity
from ribcage.evidence._image_events import ALERT
from ribcage.evidence.entry import Json, Stamp, count, detail, identity, token

_CONFIGURATION: Final = ("110129", "Security Configuration")
_SECURITY_RESOURCE: Final = ("13", "Security Resource")

RoutingChange = Literal[
    "rule-added",
    "rule-removed",
    "moves-retried",
    "moves-not-retried",
    "job-made",
    "job-retried",
    "job-dropped",
    "report-retried",
    "report-dropped",
    "priors-queued",
    "priors-refused",
]


@dataclass(frozen=True)
class RoutingChanged:
    """Somebody changed what is sent where. `number` is the rule's or job's, `destination` a certificate's SHA-256."""

    actor: Actor
    change: RoutingChange
    number: int
    destination: bytes | None = None

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        details = [
            detail("change", token(self.change)),
            *([detail("destination", identity(self.destination))] if self.destination is not None else []),
            detail("number", count(self.number)),
        ]
        return audit_event(
            stamp,
            kind="routing-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_CONFIGURATION],
            entities=[entity("setting", "routing", role=_SECURITY_RESOURCE, details=details)],
        )
