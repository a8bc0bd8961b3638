"""Events of break-glass: it was broken, refused, ended early or reviewed (PS3.15 A.5.3.11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ribcage.evidence._agents import SERIOUS, Actor, audit_event, entity, patient_entity
from ribcage.evidence._image_events import ALERT, STUDY_ROLE
from ribcage.evidence.entry import Json, Stamp, count, detail, identity, token
from ribcage.evidence.errors import EntryInvalid

_STARTED = ("110127", "Emergency Override Started")
_STOPPED = ("110138", "Emergency Override Stopped")
_SECURITY_RESOURCE = ("13", "Security Resource")
MAX_SEALED_NOTE_BYTES = 700


@dataclass(frozen=True)
class BreakGlass:
    """Emergency access began; it is reviewed afterwards. `study` None: every study of the patient.

    `permit` is its id here, `number` the one on the ledger; `note` what the person wrote, sealed under the patient's
    key (b"" without one). `emergency`: decided from the last known state, while log or ledger could not answer.
    """

    actor: Actor
    permit: bytes
    number: int
    study: bytes | None
    patient: bytes
    reason: str
    valid_until_ms: int
    transaction: bytes
    note: bytes = b""
    emergency: bool = False

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Emergency Override Started."""
        if len(self.note) > MAX_SEALED_NOTE_BYTES:
            raise EntryInvalid(f"expected a sealed note of at most {MAX_SEALED_NOTE_BYTES} bytes")
        details = [
            detail("emergency", "yes" if self.emergency else "no"),
            *([detail("note-sealed", self.note.hex())] if self.note else []),
            detail("number", count(self.number)),
            detail("permit", identity(self.permit)),
            detail("transaction", identity(self.transaction)),
            detail("valid-until", count(self.valid_until_ms)),
        ]
        study = identity(self.study) if self.study is not None else "all"
        return audit_event(
            stamp,
            kind="break-glass",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_STARTED],
            reason=self.reason,
            purpose="ETREAT",
            entities=[
                entity("study", study, role=STUDY_ROLE, details=details),
                *patient_entity(self.patient),
            ],
        )


@dataclass(frozen=True)
class BreakGlassRefused:
    """Somebody tried to break the glass and was refused; `study` is None when it is not known or all are meant."""

    actor: Actor
    study: bytes | None
    patient: bytes | None
    reason: str

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Emergency Override Started, with a serious failure."""
        study = identity(self.study) if self.study is not None else "unknown"
        return audit_event(
            stamp,
            kind="break-glass-refused",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_STARTED],
            outcome=SERIOUS,
            reason=self.reason,
            purpose="ETREAT",
            entities=[entity("study", study, role=STUDY_ROLE), *patient_entity(self.patient)],
        )


@dataclass(frozen=True)
class BreakGlassChanged:
    """A break-glass access was ended early, or shown to an officer, or judged.

    `comment`: what the reviewer wrote, sealed under the patient's key (b"" without one).
    """

    actor: Actor
    permit: bytes
    number: int
    change: Literal["ended", "shown", "justified", "unjustified"]
    comment: bytes = b""

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Emergency Override Stopped."""
        if len(self.comment) > MAX_SEALED_NOTE_BYTES:
            raise EntryInvalid(f"expected a sealed comment of at most {MAX_SEALED_NOTE_BYTES} bytes")
        details = [
            detail("change", token(self.change)),
            *([detail("comment-sealed", self.comment.hex())] if self.comment else []),
            detail("number", count(self.number)),
            detail("permit", identity(self.permit)),
        ]
        return audit_event(
            stamp,
            kind="break-glass-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_STOPPED] if self.change == "ended" else [],
            entities=[entity("break-glass", count(self.number), role=_SECURITY_RESOURCE, details=details)],
        )


@dataclass(frozen=True)
class EmergencyJournalBroken:
    """The emergency journal does not hold: from record `first_lost` on nothing of it can be believed."""

    actor: Actor
    first_lost: int

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11 with a serious failure."""
        details = [detail("first-lost", count(self.first_lost))]
        return audit_event(
            stamp,
            kind="emergency-journal-broken",
            event=ALERT,
            action="E",
            actor=self.actor,
            outcome=SERIOUS,
            entities=[entity("journal", "emergency", role=_SECURITY_RESOURCE, details=details)],
        )
