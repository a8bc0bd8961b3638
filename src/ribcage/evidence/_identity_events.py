"""Events about whose study is whose, and about conflicts that a person resolved (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ribcage.evidence._agents import SERIOUS, Actor, audit_event, entity, patient_entity
from ribcage.evidence._image_events import ALERT, STUDY_ROLE
from ribcage.evidence.entry import Json, Stamp, count, detail, identity, token

IdentityChange = Literal["asked", "cancelled", "done", "undone"]
ConflictChange = Literal["shown", "discarded", "accepted", "attached"]
_ATTRIBUTES = ("110135", "Object Security Attributes Changed")


@dataclass(frozen=True)
class IdentityChanged:
    """Studies (key ids) got another identity, or somebody asked for it. One entry for each patient concerned.

    `sort` is merge, move, split, correct or undo. `patient` None: not known before the second person approves.
    """

    actor: Actor
    number: int
    sort: str
    change: IdentityChange
    patient: bytes | None
    studies: tuple[bytes, ...] = ()
    undoes: int = 0

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            detail("change", token(self.change)),
            detail("number", count(self.number)),
            detail("sort", token(self.sort)),
            *(detail("study", identity(study)) for study in self.studies),
            *([detail("undoes", count(self.undoes))] if self.undoes else []),
        ]
        changed = entity("identity", count(self.number), role=STUDY_ROLE, details=details)
        return _changed(stamp, "identity-changed", self.actor, changed, self.patient)


@dataclass(frozen=True)
class ConflictResolved:
    """A person looked at a parked instance, or decided what becomes of it. `parked_entry`: of its parking.

    `filed`: the id of the object that it became, sealed under the key of `study`.
    """

    actor: Actor
    object_id: bytes
    change: ConflictChange
    parked_entry: int
    study: bytes | None = None
    patient: bytes | None = None
    filed: bytes | None = None

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            detail("change", token(self.change)),
            detail("parked-entry", count(self.parked_entry)),
            *([detail("study", identity(self.study))] if self.study is not None else []),
            *([detail("filed", identity(self.filed))] if self.filed is not None else []),
        ]
        held = entity("object", identity(self.object_id), role=STUDY_ROLE, details=details)
        return _changed(stamp, "conflict-resolved", self.actor, held, self.patient)


@dataclass(frozen=True)
class RejectionChanged:
    """A note hides instances of a study, or does so no more. `code` of DCM; the note itself is an instance."""

    actor: Actor
    number: int
    change: Literal["rejected", "undone"]
    code: str
    study: bytes
    patient: bytes
    instances: int

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            detail("change", token(self.change)),
            detail("number", count(self.number)),
            detail("code", token(self.code)),
            detail("instances", count(self.instances)),
        ]
        held = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return _changed(stamp, "rejection-changed", self.actor, held, self.patient)


@dataclass(frozen=True)
class RejectionRefused:
    """Somebody sent a note who may not, or one that names what it may not."""

    actor: Actor
    code: str
    channel: str
    reason: str

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed, serious failure."""
        details = [detail("channel", token(self.channel))]
        return audit_event(
            stamp,
            kind="rejection-refused",
            event=ALERT,
            action="E",
            actor=self.actor,
            outcome=SERIOUS,
            reason=token(self.reason),
            subtypes=[_ATTRIBUTES],
            entities=[entity("rejection", token(self.code), role=STUDY_ROLE, details=details)],
        )


def _changed(stamp: Stamp, kind: str, actor: Actor, what: Json, patient: bytes | None) -> Json:
    return audit_event(
        stamp,
        kind=kind,
        event=ALERT,
        action="E",
        actor=actor,
        subtypes=[_ATTRIBUTES],
        entities=[what, *patient_entity(patient)],
    )
