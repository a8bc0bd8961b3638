"""Which entries of the log concern which patient: an index beside the log, written with each entry.

Rules, in order:
1. The row of the index is written in the transaction of its entry: no disclosure without it.
2. The index only finds. What a patient is shown is read from the sealed entry, which must itself name that patient:
   a changed row shows nothing of anybody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import sqlalchemy as sa

from ribcage.database.schema import meta, patient_entry
from ribcage.evidence.audit_event import (
    BreakGlass,
    BreakGlassRefused,
    ConflictResolved,
    ConsentChanged,
    DestructionChanged,
    DisclosureAllowed,
    DisclosureClosed,
    DisclosureRefused,
    Event,
    IdentityChanged,
    ObjectionChanged,
    PatientAccessChanged,
    ReidentificationChanged,
    RejectionChanged,
    StudyDestroyed,
    StudyReleased,
)
from ribcage.evidence.entry import Json, parse
from ribcage.evidence.errors import EntryInvalid

Kind = Literal[
    "disclosure", "closed", "refused", "break-glass", "objection", "destruction", "access", "identity",
    "consent", "research",
]  # fmt: skip
KIND_OF: Final = MappingProxyType[str, Kind](
    {
        "disclosure-allowed": "disclosure",
        "disclosure-closed": "closed",
        "disclosure-refused": "refused",
        "break-glass": "break-glass",
        "break-glass-refused": "refused",
        "objection-changed": "objection",
        "destruction-changed": "destruction",
        "study-destroyed": "destruction",
        "patient-access": "access",
        "identity-changed": "identity",
        "conflict-resolved": "identity",
        "rejection-changed": "identity",
        "consent-changed": "consent",
        "study-released": "research",
        "reidentification-changed": "research",
    }
)
_NAMES_A_PATIENT: Final = b'"urn:ribcage:patient"'


@dataclass(frozen=True)
class Concern:
    """Whom an entry concerns (16 bytes), how, and under which disclosure (16 bytes)."""

    patient_id: bytes
    kind: Kind
    disclosure: bytes | None


def concern_of(event: Event) -> Concern | None:
    """What the index keeps of a new entry; None for one that concerns no patient."""
    match event:
        case DisclosureAllowed(patient=bytes(patient)):
            return Concern(patient, "disclosure", event.disclosure)
        case DisclosureClosed(patient=bytes(patient)):
            return Concern(patient, "closed", event.disclosure)
        case DisclosureRefused(patient=bytes(patient)):
            return Concern(patient, "refused", None)
        case BreakGlass(patient=patient):
            return Concern(patient, "break-glass", None)
        case BreakGlassRefused(patient=bytes(patient)):
            return Concern(patient, "refused", None)
        case ObjectionChanged(patient=patient):
            return Concern(patient, "objection", None)
        case DestructionChanged(patient=patient) | StudyDestroyed(patient=bytes(patient)):
            return Concern(patient, "destruction", None)
        case IdentityChanged(patient=bytes(patient)) | ConflictResolved(patient=bytes(patient)):
            return Concern(patient, "identity", None)
        case RejectionChanged(patient=patient):
            return Concern(patient, "identity", None)
        case ConsentChanged(patient=patient):
            return Concern(patient, "consent", None)
        case StudyReleased(patient=patient) | ReidentificationChanged(patient=bytes(patient)):
            return Concern(patient, "research", None)
        case PatientAccessChanged(patient=patient):
            return Concern(patient, "access", None)
    return None


def note(connection: sa.Connection, number: int, event: Event) -> None:
    """Rule 1: inside the entry's transaction."""
    concern = concern_of(event)
    if concern is not None:
        connection.execute(sa.insert(patient_entry), row(number, concern))


LOOKED_THROUGH: Final = "patient-entries"  # of `meta`: entries before this number; `ALL` when that is done
ALL: Final = "all"


def complete(connection: sa.Connection) -> bool:
    """Whether entries older than the index have all been looked through."""
    value = connection.execute(sa.select(meta.c.value).where(meta.c.name == LOOKED_THROUGH)).scalar()
    return value == ALL


def row(number: int, concern: Concern) -> dict[str, object]:
    """As `patient_entry` has it."""
    return {
        "number": number,
        "patient_id": concern.patient_id,
        "kind": concern.kind,
        "disclosure": concern.disclosure,
    }


def read_concern(body: bytes) -> tuple[Json, Concern] | None:
    """A stored entry and whom it concerns by its own word; None for one that concerns no patient."""
    if _NAMES_A_PATIENT not in body:
        return None
    try:
        entry = parse(body)
    except EntryInvalid:
        return None
    concern = concern_in(entry)
    return None if concern is None else (entry, concern)


def concern_in(entry: Json) -> Concern | None:
    """The same of an entry that was parsed."""
    kind = KIND_OF.get(coded(entry.get("subtype")))
    patient = value_of(entry, "patient")
    if kind is None or not patient:
        return None
    disclosure = details_of(entry).get("disclosure", "")
    return Concern(bytes.fromhex(patient), kind, bytes.fromhex(disclosure) or None)


def coded(codings: object) -> str:
    """The first code of a list of codings."""
    first = codings[0] if isinstance(codings, list) and codings else None
    return str(first.get("code", "")) if isinstance(first, dict) else ""


def value_of(entry: Json, system: str) -> str:
    """The identifier of the entry's entity in `urn:ribcage:SYSTEM`."""
    return next((value for each, value in _identified(entry.get("entity"), "what") if each == system), "")


def agent_of(entry: Json) -> tuple[str, str]:
    """`(system, identifier)` of who acted; empty texts for a stranger."""
    return next(_identified(entry.get("agent"), "who"), ("", ""))


def _identified(listed: object, name: str) -> Iterator[tuple[str, str]]:
    for each in listed if isinstance(listed, list) else []:
        reference = each.get(name) if isinstance(each, dict) else None
        identifier = reference.get("identifier") if isinstance(reference, dict) else None
        if isinstance(identifier, dict):
            yield (
                str(identifier.get("system", "")).removeprefix("urn:ribcage:"),
                str(identifier.get("value", "")),
            )


def details_of(entry: Json) -> dict[str, str]:
    """All details of the entry's entities."""
    found: dict[str, str] = {}
    listed = entry.get("entity")
    for each in listed if isinstance(listed, list) else []:
        details = each.get("detail") if isinstance(each, dict) else None
        for one in details if isinstance(details, list) else []:
            if isinstance(one, dict):
                found[str(one.get("type", ""))] = str(one.get("valueString", ""))
    return found
