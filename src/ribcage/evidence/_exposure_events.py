"""The event of the exposure self-check: something of this machine is open that should not be, or is no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ribcage.evidence._agents import MINOR, SUCCESS, Actor, audit_event, entity
from ribcage.evidence._image_events import ALERT
from ribcage.evidence.entry import Json, Stamp, count, detail, token


@dataclass(frozen=True)
class ExposureChanged:
    """`what` and `scope` are short labels, `port` the listener's; no address and no program's name."""

    actor: Actor
    change: Literal["found", "gone"]
    what: str
    scope: str
    port: int

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        found = self.change == "found"
        details = [
            detail("change", self.change),
            detail("port", count(self.port)),
            detail("scope", token(self.scope)),
        ]
        return audit_event(
            stamp,
            kind="exposure-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[("110129", "Security Configuration")],
            outcome=MINOR if found else SUCCESS,
            reason=self.what if found else "",
            entities=[
                entity("exposure", token(self.what), role=("13", "Security Resource"), details=details)
            ],
        )
