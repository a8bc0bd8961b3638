"""Events about research: projects, what was released to them, who was named again (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ribcage.evidence._agents import SERIOUS, SUCCESS, Actor, audit_event, entity, patient_entity
from ribcage.evidence._image_events import ALERT, STUDY_ROLE, TRANSFERRED
from ribcage.evidence.entry import Json, Stamp, count, detail, identity, token

ReleaseChange = Literal["begun", "withdrawn"]
NamingChange = Literal["asked", "cancelled", "done"]
_RESEARCH: Final = "HRESCH"
_RESOURCE: Final = ("13", "Security Resource")
_CONFIGURATION: Final = [("110129", "Security Configuration")]
_ATTRIBUTES: Final = [("110135", "Object Security Attributes Changed")]


@dataclass(frozen=True)
class ProjectChanged:
    """A research project was added or ended. `until_ms`: how long it may get anything."""

    actor: Actor
    project: bytes
    change: Literal["added", "ended"]
    officer: bytes
    until_ms: int

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        details = [
            detail("change", token(self.change)),
            detail("officer", identity(self.officer)),
            detail("until", count(self.until_ms)),
        ]
        project = entity("project", identity(self.project), role=_RESOURCE, details=details)
        return audit_event(
            stamp,
            kind="project-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=_CONFIGURATION,
            purpose=_RESEARCH,
            entities=[project],
        )


@dataclass(frozen=True)
class ReleaseChanged:
    """A release to a project was begun, or withdrawn whole because the check found something."""

    actor: Actor
    project: bytes
    number: int
    change: ReleaseChange
    findings: int = 0

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed; withdrawn: a serious failure."""
        details = [
            detail("change", token(self.change)),
            detail("findings", count(self.findings)),
            detail("number", count(self.number)),
        ]
        return audit_event(
            stamp,
            kind="release-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=_ATTRIBUTES,
            outcome=SERIOUS if self.change == "withdrawn" else SUCCESS,
            purpose=_RESEARCH,
            entities=[entity("project", identity(self.project), role=_RESOURCE, details=details)],
        )


@dataclass(frozen=True)
class StudyReleased:
    """De-identified instances of a study were handed to a project. `files`: Merkle root of their SHA-256."""

    actor: Actor
    project: bytes
    number: int
    study: bytes
    patient: bytes
    instances: int
    files: bytes
    profile: str

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.7."""
        details = [
            detail("files", identity(self.files)),
            detail("instances", count(self.instances)),
            detail("number", count(self.number)),
            detail("profile", token(self.profile)),
            detail("project", identity(self.project)),
        ]
        study = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return audit_event(
            stamp,
            kind="study-released",
            event=TRANSFERRED,
            action="R",
            actor=self.actor,
            purpose=_RESEARCH,
            entities=[study, *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class ReidentificationChanged:
    """Somebody asked who stands behind a pseudonym, took that back, or, approved by a second one, was told.

    `patient` and `studies` are known once it is done. One entry for each patient.
    """

    actor: Actor
    project: bytes
    number: int
    change: NamingChange
    reason: str
    patient: bytes | None = None
    studies: tuple[bytes, ...] = ()

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            detail("change", token(self.change)),
            detail("number", count(self.number)),
            detail("reason", token(self.reason)),
            *(detail("study", identity(each)) for each in self.studies),
        ]
        project = entity("project", identity(self.project), role=_RESOURCE, details=details)
        return audit_event(
            stamp,
            kind="reidentification-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=_ATTRIBUTES,
            purpose=_RESEARCH,
            entities=[project, *patient_entity(self.patient)],
        )
