"""Audit entries: typed events in, canonical bodies out, one human line for each (docs/formats.md 5.2).

    body = entry_body(DisclosureRefused(actor=..., study=..., ...), Stamp(now_ms, hospital))
    leaf_data, leaf_hash = make_leaf(body, salt)

Every event class has `to_entry(stamp)`. All text fields are short labels and all ids are bytes, so there is
no field through which a patient's name could enter.
"""

from __future__ import annotations

from types import MappingProxyType

from ribcage.evidence._agents import (
    Actor,
    DeviceActor,
    OperatorActor,
    PatientActor,
    PersonActor,
    StrangerActor,
    SystemActor,
)
from ribcage.evidence._backup_events import BackupMade, HomeRestored
from ribcage.evidence._care_events import CareTold, StaffChange, StaffChanged
from ribcage.evidence._consent_events import ConsentChanged, ObjectionChanged
from ribcage.evidence._edge_events import EdgeTold
from ribcage.evidence._exposure_events import ExposureChanged
from ribcage.evidence._glass_events import (
    BreakGlass,
    BreakGlassChanged,
    BreakGlassRefused,
    EmergencyJournalBroken,
)
from ribcage.evidence._house_events import (
    AdministrationUsed,
    ApplicationActivity,
    AssociationRefused,
    AuditLogUsed,
    Authentication,
    ClockChange,
    ClockChanged,
    ConfigurationChanged,
    DeviceChanged,
    GrantChanged,
    Maintenance,
    PersonChanged,
    RecoveryChanged,
    SessionAlarm,
)
from ribcage.evidence._identity_events import (
    ConflictChange,
    ConflictResolved,
    IdentityChanged,
    RejectionChanged,
    RejectionRefused,
)
from ribcage.evidence._image_events import (
    DerivationAllowed,
    DerivationRefused,
    DestructionChanged,
    DisclosureAllowed,
    DisclosureClosed,
    DisclosureRefused,
    InstanceForwarded,
    InstanceParked,
    InstanceStored,
    InstancesTransferred,
    QueryAnswered,
    QueryRefused,
    SealingLeased,
    StudyDestroyed,
)
from ribcage.evidence._migration_events import MigrationReported
from ribcage.evidence._patient_events import AccessChange, PatientAccessChanged
from ribcage.evidence._research_events import (
    ProjectChanged,
    ReidentificationChanged,
    ReleaseChanged,
    StudyReleased,
)
from ribcage.evidence._routing_events import RoutingChange, RoutingChanged
from ribcage.evidence.entry import ENTRY_VERSION, Json, Stamp, canonical, parse

__all__ = [
    "ENTRY_VERSION",
    "KINDS",
    "AccessChange",
    "Actor",
    "AdministrationUsed",
    "ApplicationActivity",
    "AssociationRefused",
    "AuditLogUsed",
    "Authentication",
    "BackupMade",
    "BreakGlass",
    "BreakGlassChanged",
    "BreakGlassRefused",
    "CareTold",
    "ClockChange",
    "ClockChanged",
    "ConfigurationChanged",
    "ConflictChange",
    "ConflictResolved",
    "ConsentChanged",
    "DerivationAllowed",
    "DerivationRefused",
    "DestructionChanged",
    "DeviceActor",
    "DeviceChanged",
    "DisclosureAllowed",
    "DisclosureClosed",
    "DisclosureRefused",
    "EdgeTold",
    "EmergencyJournalBroken",
    "Event",
    "ExposureChanged",
    "GrantChanged",
    "HomeRestored",
    "IdentityChanged",
    "InstanceForwarded",
    "InstanceParked",
    "InstanceStored",
    "InstancesTransferred",
    "Maintenance",
    "MigrationReported",
    "ObjectionChanged",
    "OperatorActor",
    "PatientAccessChanged",
    "PatientActor",
    "PersonActor",
    "PersonChanged",
    "ProjectChanged",
    "QueryAnswered",
    "QueryRefused",
    "RecoveryChanged",
    "ReidentificationChanged",
    "RejectionChanged",
    "RejectionRefused",
    "ReleaseChanged",
    "RoutingChange",
    "RoutingChanged",
    "SealingLeased",
    "SessionAlarm",
    "StaffChange",
    "StaffChanged",
    "Stamp",
    "StrangerActor",
    "StudyDestroyed",
    "StudyReleased",
    "SystemActor",
    "describe",
    "entry_body",
    "kind_of",
]

Event = (
    AdministrationUsed
    | ApplicationActivity
    | AssociationRefused
    | AuditLogUsed
    | Authentication
    | BackupMade
    | BreakGlass
    | BreakGlassChanged
    | BreakGlassRefused
    | ClockChanged
    | ConfigurationChanged
    | ConflictResolved
    | CareTold
    | ConsentChanged
    | DerivationAllowed
    | DerivationRefused
    | DestructionChanged
    | DeviceChanged
    | DisclosureAllowed
    | DisclosureClosed
    | DisclosureRefused
    | EdgeTold
    | EmergencyJournalBroken
    | ExposureChanged
    | GrantChanged
    | HomeRestored
    | IdentityChanged
    | RejectionChanged
    | RejectionRefused
    | InstanceForwarded
    | InstanceParked
    | InstanceStored
    | InstancesTransferred
    | Maintenance
    | MigrationReported
    | ObjectionChanged
    | PatientAccessChanged
    | PersonChanged
    | ProjectChanged
    | QueryAnswered
    | QueryRefused
    | RecoveryChanged
    | ReidentificationChanged
    | ReleaseChanged
    | RoutingChanged
    | SealingLeased
    | SessionAlarm
    | StaffChanged
    | StudyDestroyed
    | StudyReleased
)

KINDS = MappingProxyType(
    {
        "administration-used": "administration by a person",
        "application-started": "application started",
        "application-stopped": "application stopped",
        "association-refused": "peer refused at the door",
        "audit-log-used": "audit log read",
        "backup-made": "backup made",
        "break-glass": "BREAK-GLASS access began",
        "break-glass-changed": "break-glass ended or reviewed",
        "break-glass-refused": "BREAK-GLASS refused",
        "care-refused": "message about care REFUSED",
        "care-told": "message about care taken",
        "clock-changed": "clock stepped, restored or accepted",
        "configuration-changed": "security setting changed",
        "conflict-resolved": "conflict looked at or resolved",
        "consent-changed": "consent changed",
        "derivation-allowed": "object about a study allowed",
        "derivation-refused": "object about a study REFUSED",
        "destruction-changed": "destruction asked, approved or cancelled",
        "device-changed": "device changed",
        "disclosure-allowed": "disclosure allowed",
        "disclosure-closed": "disclosure closed",
        "disclosure-refused": "disclosure REFUSED",
        "edge-told": "edge trusted, given keys, or told",
        "emergency-journal-broken": "emergency journal BROKEN",
        "exposure-changed": "something of this machine stands open, or no more",
        "grant-changed": "grant changed",
        "home-restored": "archive RESTORED from a backup",
        "identity-changed": "identity of studies changed",
        "rejection-changed": "instances hidden by a rejection note, or shown again",
        "rejection-refused": "rejection note REFUSED",
        "instance-forwarded": "instance passed on through the shield",
        "instance-parked": "instance parked as a conflict",
        "instance-stored": "instance stored",
        "instances-received": "instances received",
        "login": "logged in",
        "login-failed": "login FAILED",
        "logout": "logged out",
        "maintenance": "upkeep",
        "migration-reported": "migration reported",
        "objection-changed": "patient's objection changed",
        "patient-access": "a patient's way in",
        "person-changed": "person changed",
        "project-changed": "research project added or ended",
        "query-answered": "query answered",
        "query-refused": "query REFUSED",
        "recovery-changed": "recovery shares made, used or forgotten",
        "reidentification-changed": "who stands behind a pseudonym: asked or TOLD",
        "release-changed": "release to a project begun or WITHDRAWN",
        "routing-changed": "routing rule or sending job changed",
        "sealing-leased": "sealing key leased",
        "session-alarm": "ALARM: session or passkey in wrong hands",
        "staff-changed": "staff number or shift changed",
        "step-up": "second factor given",
        "step-up-failed": "second factor FAILED",
        "study-destroyed": "study destroyed",
        "study-released": "study released to a project, de-identified",
    }
)

_SHOWN_DETAILS = 12


def entry_body(event: Event, stamp: Stamp) -> bytes:
    """The canonical body of an event; raises `EntryInvalid` when a field is not a label, an id or a count."""
    return canonical(event.to_entry(stamp))


def kind_of(body: bytes) -> str:
    """The kind of an entry, one of `KINDS` or '' for a kind this version does not know."""
    return _kind(parse(body))


def describe(body: bytes) -> str:
    """One line for people: time, what, by whom, about what, with what outcome. Safe to print on a terminal.

    Raises `EntryInvalid` when the body is not a canonical entry.
    """
    entry = parse(body)
    kind = _kind(entry)
    parts = [_text(entry.get("recorded")), KINDS.get(kind, "unknown event")]
    if "resourceType" not in entry:
        parts.append(f"by {_short(_text(entry.get('by')))}")
        named = f"object {_short(_text(entry['object']))}, " if "object" in entry else ""
        parts.append(f"{named}study {_short(_text(entry.get('study')))}")
        parts.append(f"octets={_text(entry.get('octets'))}")
        return _printable(" | ".join(parts))
    parts.append("by " + ", ".join(_agent(each) for each in _objects(entry.get("agent"))))
    parts.extend(_entity(each) for each in _objects(entry.get("entity")))
    for purpose in _objects(entry.get("purposeOfEvent")):
        parts.extend(f"for {_text(each.get('code'))}" for each in _objects(purpose.get("coding")))
    if "outcomeDesc" in entry:
        parts.append(f"reason {_text(entry['outcomeDesc'])}")
    return _printable(" | ".join(parts))


def _kind(entry: Json) -> str:
    if "resourceType" not in entry:
        return _text(entry.get("kind"))
    subtypes = _objects(entry.get("subtype"))
    return _text(subtypes[0].get("code")) if subtypes else ""


def _agent(agent: Json) -> str:
    words = [_identifier(agent.get("who")) or "unknown"]
    if "altId" in agent:
        words.append(_text(agent["altId"]).removeprefix("AETITLES="))
    network = agent.get("network")
    if isinstance(network, dict):
        words.append(f"at {_text(network.get('address'))}")
    return " ".join(words)


def _entity(entity: Json) -> str:
    details = _objects(entity.get("detail"))
    shown = [
        f"{_text(each.get('type'))}={_short(_text(each.get('valueString')))}"
        for each in details[:_SHOWN_DETAILS]
    ]
    if len(details) > _SHOWN_DETAILS:
        shown.append(f"and {len(details) - _SHOWN_DETAILS} more")
    return " ".join([_identifier(entity.get("what")), *shown])


def _identifier(reference: object) -> str:
    identifier = reference.get("identifier") if isinstance(reference, dict) else None
    if not isinstance(identifier, dict):
        return ""
    system = _text(identifier.get("system")).removeprefix("urn:ribcage:")
    return f"{system} {_short(_text(identifier.get('value')))}"


def _objects(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _short(text: str) -> str:
    """Cut long identifiers to what people compare: 'device:' and 12 digits."""
    head, separator, tail = text.rpartition(":")
    return f"{head}{separator}{tail[:12]}…" if len(tail) >= 32 else text


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
