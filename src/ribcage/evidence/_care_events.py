"""Events about care relations: what the hospital's information system told (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ribcage.evidence._agents import MINOR, Actor, audit_event, entity, patient_entity
from ribcage.evidence._image_events import ALERT
from ribcage.evidence.entry import Json, Stamp, count, detail, identity, token

_ATTRIBUTES: Final = ("110135", "Object Security Attributes Changed")
_CONFIGURATION: Final = ("110129", "Security Configuration")
_SECURITY_RESOURCE: Final = ("13", "Security Resource")

StaffChange = Literal["number-set", "number-removed", "shift-added", "shift-ended"]


@dataclass(frozen=True)
class CareTold:
    """A message was taken. `cause` is its token, by which grants name it; `relations` are those it touched.

    `reason`: why it was not taken, a short label; '' where it was.
    """

    actor: Actor
    kind: str
    cause: bytes
    patient: bytes | None = None
    relations: tuple[bytes, ...] = ()
    reason: str = ""

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            detail("kind", token(self.kind)),
            *(detail("relation", identity(each)) for each in self.relations),
        ]
        told = entity("message", identity(self.cause), role=_SECURITY_RESOURCE, details=details)
        return audit_event(
            stamp,
            kind="care-refused" if self.reason else "care-told",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_ATTRIBUTES],
            outcome=MINOR if self.reason else "0",
            reason=self.reason,
            entities=[told, *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class StaffChanged:
    """An operator said which person a staff number is, or who works where."""

    actor: Actor
    change: StaffChange
    number: int = 0  # of a shift
    person: bytes | None = None

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        details = [
            detail("change", token(self.change)),
            detail("number", count(self.number)),
            *([detail("person", identity(self.person))] if self.person is not None else []),
        ]
        return audit_event(
            stamp,
            kind="staff-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_CONFIGURATION],
            entities=[entity("setting", "staff", role=_SECURITY_RESOURCE, details=details)],
        )
