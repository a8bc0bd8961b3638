"""Events about what a patient wants: objections and consents (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ribcage.evidence._agents import Actor
from ribcage.evidence._house_events import rights_entry
from ribcage.evidence.entry import Json, Stamp, detail, identity, token


@dataclass(frozen=True)
class ObjectionChanged:
    """A patient objected, or took it back; `subject` is the ledger's identifier, None for everybody."""

    actor: Actor
    patient: bytes
    subject: bytes | None
    standing: bool
    transaction: bytes

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            detail("standing", "yes" if self.standing else "no"),
            detail("subject", identity(self.subject) if self.subject is not None else "everybody"),
            detail("transaction", identity(self.transaction)),
        ]
        return rights_entry(stamp, "objection-changed", self.actor, self.patient, details)


@dataclass(frozen=True)
class ConsentChanged:
    """A patient consented to a purpose of use, or withdrew.

    `state`: 'attested' where the hospital says so for the patient, who signed elsewhere.
    """

    actor: Actor
    patient: bytes
    purpose: str
    withdrawn: bool
    transaction: bytes
    state: Literal["attested"] = "attested"

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            detail("purpose", token(self.purpose)),
            detail("state", token(self.state)),
            detail("transaction", identity(self.transaction)),
            detail("withdrawn", "yes" if self.withdrawn else "no"),
        ]
        return rights_entry(stamp, "consent-changed", self.actor, self.patient, details, self.purpose)
