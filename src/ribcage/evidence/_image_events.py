"""Events about images: stored, parked, transferred, queried, disclosed, destroyed (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ribcage.evidence._agents import (
    MINOR,
    SERIOUS,
    SUCCESS,
    Actor,
    audit_event,
    entity,
    patient_entity,
)
from ribcage.evidence.entry import DCM, ENTRY_VERSION, Json, Stamp, coding, count, detail, identity, token
from ribcage.evidence.errors import EntryInvalid

ACCESSED = coding(DCM, "110103", "DICOM Instances Accessed")  # A.5.3.6
TRANSFERRED = coding(DCM, "110104", "DICOM Instances Transferred")  # A.5.3.7
DELETED = coding(DCM, "110105", "DICOM Study Deleted")  # A.5.3.8
QUERIED = coding(DCM, "110112", "Query")  # A.5.3.10
ALERT = coding(DCM, "110113", "Security Alert")  # A.5.3.11

STUDY_ROLE = ("3", "Report")  # as in A.5.3.6
_MAX_STUDIES = 400


@dataclass(frozen=True)
class InstanceStored:
    """One instance became durable. Compact: one such leaf for each instance, kept small on purpose."""

    actor: Actor
    object_id: bytes
    data_set_sha256: bytes
    study: bytes
    octets: int

    def to_entry(self, stamp: Stamp) -> Json:
        """The compact leaf."""
        return {
            "by": self.actor.reference(),
            "kind": "instance-stored",
            "object": identity(self.object_id),
            "octets": count(self.octets),
            "recorded": stamp.recorded(),
            "sha256": identity(self.data_set_sha256),
            "study": identity(self.study),
            "version": ENTRY_VERSION,
        }


@dataclass(frozen=True)
class InstanceForwarded:
    """One instance was passed on to the old PACS behind a shield. Compact, as `InstanceStored`."""

    actor: Actor
    data_set_sha256: bytes
    study: bytes
    octets: int

    def to_entry(self, stamp: Stamp) -> Json:
        """The compact leaf."""
        return {
            "by": self.actor.reference(),
            "kind": "instance-forwarded",
            "octets": count(self.octets),
            "recorded": stamp.recorded(),
            "sha256": identity(self.data_set_sha256),
            "study": identity(self.study),
            "version": ENTRY_VERSION,
        }


@dataclass(frozen=True)
class SealingLeased:
    """A principal may seal new instances into one study for a while (receipt kind `admit`); no plaintext left."""

    actor: Actor
    study: bytes
    patient: bytes | None
    channel: str

    def to_entry(self, stamp: Stamp) -> Json:
        """DICOM Instances Accessed, action create (PS3.15 A.5.3.6)."""
        details = [detail("channel", token(self.channel))]
        study = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return audit_event(
            stamp,
            kind="sealing-leased",
            event=ACCESSED,
            action="C",
            actor=self.actor,
            entities=[study, *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class DerivationAllowed:
    """A person may save one object about a study (receipt kind `derive`); `patient_given`: it was made in the masked
    view, and the front got the patient for it."""

    actor: Actor
    study: bytes
    patient: bytes | None
    view: str
    channel: str
    references: int
    patient_given: bool

    def to_entry(self, stamp: Stamp) -> Json:
        """DICOM Instances Accessed, action create (PS3.15 A.5.3.6)."""
        details = [
            detail("channel", token(self.channel)),
            detail("patient-given", "yes" if self.patient_given else "no"),
            detail("references", count(self.references)),
            detail("view", token(self.view)),
        ]
        study = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return audit_event(
            stamp,
            kind="derivation-allowed",
            event=ACCESSED,
            action="C",
            actor=self.actor,
            entities=[study, *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class DerivationRefused:
    """An object that a person may not save, and why. `study` is None when the asked one does not exist here."""

    actor: Actor
    study: bytes | None
    patient: bytes | None
    channel: str
    reason: str

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.6 with a serious failure."""
        name = identity(self.study) if self.study is not None else "unknown"
        details = [detail("channel", token(self.channel))]
        return audit_event(
            stamp,
            kind="derivation-refused",
            event=ACCESSED,
            action="C",
            actor=self.actor,
            outcome=SERIOUS,
            reason=self.reason,
            entities=[
                entity("study", name, role=STUDY_ROLE, details=details),
                *patient_entity(self.patient),
            ],
        )


@dataclass(frozen=True)
class InstanceParked:
    """One instance was kept apart as a conflict; `reason` is a short label."""

    actor: Actor
    object_id: bytes
    data_set_sha256: bytes
    reason: str
    ordinal: int

    def to_entry(self, stamp: Stamp) -> Json:
        """DICOM Instances Transferred with a minor failure."""
        details = [
            detail("ordinal", count(self.ordinal)),
            detail("sha256", identity(self.data_set_sha256)),
        ]
        return audit_event(
            stamp,
            kind="instance-parked",
            event=TRANSFERRED,
            action="C",
            actor=self.actor,
            outcome=MINOR,
            reason=self.reason,
            entities=[entity("object", identity(self.object_id), role=STUDY_ROLE, details=details)],
        )


@dataclass(frozen=True)
class InstancesTransferred:
    """An association or request ended its transfer of one study; `action` R means all were held already."""

    actor: Actor
    study: bytes
    instances: int
    failed: int
    channel: str
    patient: bytes | None = None
    action: Literal["C", "R", "U"] = "C"

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.7; any failed instance makes it a minor failure."""
        details = [
            detail("channel", token(self.channel)),
            detail("failed", count(self.failed)),
            detail("instances", count(self.instances)),
        ]
        study = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return audit_event(
            stamp,
            kind="instances-received",
            event=TRANSFERRED,
            action=self.action,
            actor=self.actor,
            outcome=MINOR if self.failed else SUCCESS,
            entities=[study, *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class QueryAnswered:
    """A query and the studies it named. `keywords` are the filters' names, never their values."""

    actor: Actor
    channel: str
    level: str
    keywords: tuple[str, ...]
    studies: tuple[bytes, ...]
    records: int
    more: bool
    purpose: str = "TREAT"

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.10. Raises `EntryInvalid` for more than 400 studies: answer in pages."""
        if len(self.studies) > _MAX_STUDIES:
            raise EntryInvalid(f"expected at most {_MAX_STUDIES} studies in one query entry")
        details = [
            detail("channel", token(self.channel)),
            *(detail("keyword", token(each)) for each in sorted(self.keywords)),
            detail("more", "yes" if self.more else "no"),
            detail("records", count(self.records)),
            *(detail("study", identity(each)) for each in self.studies),
        ]
        return audit_event(
            stamp,
            kind="query-answered",
            event=QUERIED,
            action="E",
            actor=self.actor,
            purpose=self.purpose,
            entities=[entity("query", token(self.level), role=("24", "Query"), details=details)],
        )


@dataclass(frozen=True)
class QueryRefused:
    """A query that was not answered, and why (a short label)."""

    actor: Actor
    channel: str
    level: str
    reason: str

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.10 with a serious failure."""
        details = [detail("channel", token(self.channel))]
        return audit_event(
            stamp,
            kind="query-refused",
            event=QUERIED,
            action="E",
            actor=self.actor,
            outcome=SERIOUS,
            reason=self.reason,
            entities=[entity("query", token(self.level), role=("24", "Query"), details=details)],
        )


@dataclass(frozen=True)
class DisclosureAllowed:
    """The durable entry before the first byte: who may see which study, how, why, until when, on what ground.

    `ground` is a short label such as 'grant', 'own_device' or 'break_glass'; `grant` is the number on the
    ledger (-1 without one) and `ledger_height` the height at which the contract was asked. `recipient` is the
    certificate of the device that gets the images where it is not the actor (C-MOVE).
    """

    actor: Actor
    disclosure: bytes
    study: bytes
    patient: bytes | None
    view: str
    purpose: str
    channel: str
    instances: int
    ground: str
    ledger_height: int
    expires_at_ms: int
    grant: int = -1
    recipient: bytes | None = None

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.6."""
        details = [
            detail("channel", token(self.channel)),
            detail("disclosure", identity(self.disclosure)),
            detail("expires", str(self.expires_at_ms)),
            *([detail("grant", count(self.grant))] if self.grant >= 0 else []),
            detail("ground", token(self.ground)),
            detail("instances", count(self.instances)),
            detail("ledger-height", count(self.ledger_height)),
            *([detail("recipient", identity(self.recipient))] if self.recipient is not None else []),
            detail("view", token(self.view)),
        ]
        study = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return audit_event(
            stamp,
            kind="disclosure-allowed",
            event=ACCESSED,
            action="R",
            actor=self.actor,
            purpose=self.purpose,
            entities=[study, *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class DisclosureRefused:
    """A disclosure that was denied. `study` is None when the asked one does not exist here."""

    actor: Actor
    study: bytes | None
    patient: bytes | None
    want: str
    purpose: str
    channel: str
    reason: str

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.6 with a serious failure."""
        details = [detail("channel", token(self.channel)), detail("want", token(self.want))]
        name = identity(self.study) if self.study is not None else "unknown"
        return audit_event(
            stamp,
            kind="disclosure-refused",
            event=ACCESSED,
            action="R",
            actor=self.actor,
            outcome=SERIOUS,
            reason=self.reason,
            purpose=self.purpose,
            entities=[
                entity("study", name, role=STUDY_ROLE, details=details),
                *patient_entity(self.patient),
            ],
        )


@dataclass(frozen=True)
class DisclosureClosed:
    """What really left under a disclosure, and how it ended ('complete', 'aborted', 'cut', 'expired')."""

    actor: Actor
    disclosure: bytes
    study: bytes
    patient: bytes | None
    instances: int
    octets: int
    ending: str

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.7: the completion that belongs to the access entry."""
        details = [
            detail("disclosure", identity(self.disclosure)),
            detail("ending", token(self.ending)),
            detail("instances", count(self.instances)),
            detail("octets", count(self.octets)),
        ]
        study = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return audit_event(
            stamp,
            kind="disclosure-closed",
            event=TRANSFERRED,
            action="R",
            actor=self.actor,
            outcome=SUCCESS if self.ending == "complete" else MINOR,
            entities=[study, *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class StudyDestroyed:
    """A study's key was destroyed; `epoch` is the last epoch in which it could be opened.

    `certificate` is the SHA-256 of the signed certificate, which the ledger's tombstone names too. `parked_entries`
    are the entries of conflicts that were sealed under the same key and went with it.
    """

    actor: Actor
    study: bytes
    patient: bytes | None
    instances: int
    epoch: int
    certificate: bytes | None = None
    transaction: bytes | None = None
    parked_entries: tuple[int, ...] = ()

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.8."""
        details = [
            *([detail("certificate", identity(self.certificate))] if self.certificate is not None else []),
            detail("epoch", count(self.epoch)),
            detail("instances", count(self.instances)),
            *(detail("parked-entry", count(each)) for each in self.parked_entries),
            *([detail("transaction", identity(self.transaction))] if self.transaction is not None else []),
        ]
        study = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return audit_event(
            stamp,
            kind="study-destroyed",
            event=DELETED,
            action="D",
            actor=self.actor,
            entities=[study, *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class DestructionChanged:
    """A study's destruction was asked for, approved, cancelled or begun; `reason` is a label of the closed list."""

    actor: Actor
    study: bytes
    patient: bytes
    number: int
    change: Literal["asked", "approved", "cancelled", "executing"]
    reason: str
    due_ms: int = 0

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            detail("change", token(self.change)),
            *([detail("due", count(self.due_ms))] if self.due_ms else []),
            detail("number", count(self.number)),
            detail("reason", token(self.reason)),
        ]
        study = entity("study", identity(self.study), role=STUDY_ROLE, details=details)
        return audit_event(
            stamp,
            kind="destruction-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[("110135", "Object Security Attributes Changed")],
            entities=[study, *patient_entity(self.patient)],
        )
