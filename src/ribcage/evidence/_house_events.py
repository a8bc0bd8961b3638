"""Events about the house: refusals at the door, people, devices, rights, the log, upkeep (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ribcage.evidence._agents import MINOR, SERIOUS, SUCCESS, Actor, audit_event, entity, patient_entity
from ribcage.evidence._image_events import ALERT
from ribcage.evidence.entry import (
    AUDIT_TYPE,
    DCM,
    LIFECYCLE,
    Json,
    Stamp,
    coding,
    count,
    detail,
    identity,
    token,
)

APPLICATION = coding(DCM, "110100", "Application Activity")  # A.5.3.1
LOG_USED = coding(DCM, "110101", "Audit Log Used")  # A.5.3.2
AUTHENTICATION = coding(DCM, "110114", "User Authentication")  # A.5.3.12

_NODE = ("110126", "Node Authentication")
_CONFIGURATION = ("110129", "Security Configuration")
_OBJECT_ATTRIBUTES = ("110135", "Object Security Attributes Changed")
_ROLES = ("110136", "Security Roles Changed")
_USER_ATTRIBUTES = ("110137", "User Security Attributes Changed")
_SECURITY_USER = ("11", "Security User Entity")
_SECURITY_RESOURCE = ("13", "Security Resource")


@dataclass(frozen=True)
class AssociationRefused:
    """A peer was turned away at the door, `times` times in this minute; `reason` is a short label."""

    actor: Actor
    listener: str
    reason: str
    times: int = 1

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Node Authentication."""
        details = [detail("times", count(self.times))]
        return audit_event(
            stamp,
            kind="association-refused",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_NODE],
            outcome=MINOR,
            reason=self.reason,
            entities=[entity("listener", token(self.listener), role=_SECURITY_RESOURCE, details=details)],
        )


@dataclass(frozen=True)
class ApplicationActivity:
    """The archive started or stopped, with its version and the words of its configuration."""

    actor: Actor
    change: Literal["start", "stop"]
    version: str
    configuration: tuple[str, ...] = ()

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.1."""
        start = self.change == "start"
        details = [
            *(detail("configuration", token(each)) for each in self.configuration),
            detail("version", token(self.version)),
        ]
        return audit_event(
            stamp,
            kind="application-started" if start else "application-stopped",
            event=APPLICATION,
            action="E",
            actor=self.actor,
            subtypes=[("110120", "Application Start") if start else ("110121", "Application Stop")],
            entities=[entity("component", "ribcage", role=("4", "Domain Resource"), details=details)],
        )


@dataclass(frozen=True)
class AuditLogUsed:
    """Somebody read entries `start` to `start + count - 1`, perhaps only those of one person."""

    actor: Actor
    start: int
    count: int
    person: bytes | None = None

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.2."""
        details = [
            detail("count", count(self.count)),
            *([detail("person", identity(self.person))] if self.person is not None else []),
            detail("start", count(self.start)),
        ]
        return audit_event(
            stamp,
            kind="audit-log-used",
            event=LOG_USED,
            action="R",
            actor=self.actor,
            entities=[entity("log", "security-audit-log", role=_SECURITY_RESOURCE, details=details)],
        )


@dataclass(frozen=True)
class Authentication:
    """A login, logout or step-up; `failure` is a short label, '' on success.

    Of a failed login only the address is known (`StrangerActor`), or the person when the name exists. The
    name that was typed is never recorded: people type passwords there.
    """

    actor: Actor
    step: Literal["login", "logout", "step-up"]
    failure: str = ""
    factor: Literal["", "totp", "passkey", "recovery"] = ""

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.12."""
        code = ("110123", "Logout") if self.step == "logout" else ("110122", "Login")
        return audit_event(
            stamp,
            kind=f"{token(self.step)}-failed" if self.failure else token(self.step),
            event=AUTHENTICATION,
            action="E",
            actor=self.actor,
            subtypes=[code],
            outcome=MINOR if self.failure else SUCCESS,
            reason=self.failure,
            entities=[entity("factor", token(self.factor), role=_SECURITY_USER)] if self.factor else [],
        )


@dataclass(frozen=True)
class SessionAlarm:
    """A right secret or passkey came from wrong hands; `how` is a short label.

    `ended`: the session was ended by it.
    """

    actor: Actor
    how: Literal["another-client", "superseded-secret", "passkey-counter-went-back"]
    ended: bool

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Alert."""
        return audit_event(
            stamp,
            kind="session-alarm",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_NODE],
            outcome=SERIOUS,
            reason=self.how,
            entities=[
                entity(
                    "session",
                    "of-this-person",
                    role=_SECURITY_RESOURCE,
                    details=[detail("ended", "yes" if self.ended else "no")],
                )
            ],
        )


@dataclass(frozen=True)
class AdministrationUsed:
    """A person read a list of the house, or was refused an administrative call; `failure` is '' on success."""

    actor: Actor
    call: str
    failure: str = ""

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        return audit_event(
            stamp,
            kind="administration-used",
            event=ALERT,
            action="R",
            actor=self.actor,
            subtypes=[_CONFIGURATION],
            outcome=MINOR if self.failure else SUCCESS,
            reason=self.failure,
            entities=[entity("call", token(self.call), role=_SECURITY_RESOURCE)],
        )


@dataclass(frozen=True)
class PersonChanged:
    """A person was added or changed; `roles` are the roles afterwards when they were set.

    A suspension and its end name their transaction on the ledger.
    """

    actor: Actor
    person: bytes
    change: Literal[
        "added", "suspended", "restored", "roles", "factor", "password",
        "passkey-added", "passkey-removed", "recovery-codes-made",
        "reset-asked", "reset-approved", "reset-refused", "reset-enrolled",
    ]  # fmt: skip
    roles: tuple[str, ...] = ()
    transaction: bytes | None = None

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, User Security Attributes or Security Roles Changed."""
        details = [
            detail("change", token(self.change)),
            *(detail("role", token(each)) for each in self.roles),
            *_transaction(self.transaction),
        ]
        who = entity("person", identity(self.person), role=_SECURITY_USER, person=True, details=details)
        return audit_event(
            stamp,
            kind="person-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_ROLES if self.change == "roles" else _USER_ATTRIBUTES],
            entities=[who],
        )


@dataclass(frozen=True)
class DeviceChanged:
    """A device was registered or changed, or became a destination; `may` are its rights when they were set.

    A suspension and its end name their transaction on the ledger.
    """

    actor: Actor
    fingerprint: bytes
    change: Literal[
        "added",
        "suspended",
        "restored",
        "rights",
        "certificate",
        "destination-added",
        "destination-removed",
        "charset",
        "renewed",
        "described",
    ]
    may: tuple[str, ...] = ()
    transaction: bytes | None = None
    charset: tuple[str, bool] = ("", False)

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        details = [
            detail("change", token(self.change)),
            *_charset(self.change, *self.charset),
            *(detail("may", token(each)) for each in self.may),
            *_transaction(self.transaction),
        ]
        device = entity(
            "certificate-sha256", identity(self.fingerprint), role=_SECURITY_RESOURCE, details=details
        )
        return audit_event(
            stamp,
            kind="device-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_CONFIGURATION],
            entities=[device],
        )


@dataclass(frozen=True)
class GrantChanged:
    """A grant was put on the ledger or revoked. Subject and resource are the ledger's own identifiers.

    `cause`: the token of the message that did it, as the ledger has it; None: a person did.
    """

    actor: Actor
    grant: int
    change: Literal["added", "revoked"]
    transaction: bytes
    subject: bytes | None = None
    resource: bytes | None = None
    view: str = ""
    purpose: str = ""
    valid_until_ms: int = 0
    cause: bytes | None = None

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Object Security Attributes Changed."""
        details = [
            *([detail("cause", identity(self.cause))] if self.cause is not None else []),
            detail("change", token(self.change)),
            *([detail("resource", identity(self.resource))] if self.resource is not None else []),
            *([detail("subject", identity(self.subject))] if self.subject is not None else []),
            detail("transaction", identity(self.transaction)),
            *([detail("valid-until", count(self.valid_until_ms))] if self.valid_until_ms else []),
            *([detail("view", token(self.view))] if self.view else []),
        ]
        return audit_event(
            stamp,
            kind="grant-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_OBJECT_ATTRIBUTES],
            purpose=self.purpose,
            entities=[entity("grant", count(self.grant), role=_SECURITY_RESOURCE, details=details)],
        )


@dataclass(frozen=True)
class ConfigurationChanged:
    """A security setting was changed; the setting's name, never its value."""

    actor: Actor
    setting: str

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        return audit_event(
            stamp,
            kind="configuration-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_CONFIGURATION],
            entities=[entity("setting", token(self.setting), role=_SECURITY_RESOURCE)],
        )


@dataclass(frozen=True)
class RecoveryChanged:
    """Recovery shares were made or forgotten, or used for a new passphrase; `fingerprint` names the set."""

    actor: Actor
    change: Literal["made", "forgotten", "used"]
    need: int
    of: int
    fingerprint: bytes

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        details = [
            detail("change", token(self.change)),
            detail("fingerprint", identity(self.fingerprint)),
            detail("need", count(self.need)),
            detail("of", count(self.of)),
        ]
        return audit_event(
            stamp,
            kind="recovery-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_CONFIGURATION],
            entities=[entity("setting", "recovery", role=_SECURITY_RESOURCE, details=details)],
        )


ClockChange = Literal["stepped-back", "stepped-forward", "restored", "accepted"]


@dataclass(frozen=True)
class ClockChanged:
    """The clock was stepped, is right again, or was accepted; `off_ms` is how far it was from where it should be."""

    actor: Actor
    change: ClockChange
    off_ms: int

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.11, Security Configuration."""
        details = [
            detail("change", token(self.change)),
            detail("direction", "ahead" if self.off_ms >= 0 else "behind"),
            detail("off", count(abs(self.off_ms))),
        ]
        return audit_event(
            stamp,
            kind="clock-changed",
            event=ALERT,
            action="E",
            actor=self.actor,
            subtypes=[_CONFIGURATION],
            outcome=SUCCESS if self.change in ("restored", "accepted") else SERIOUS,
            entities=[entity("setting", "clock", role=_SECURITY_RESOURCE, details=details)],
        )


@dataclass(frozen=True)
class Maintenance:
    """Upkeep: `action` is 'verify', 'rewrap', 'anchor'…; `part` what was worked on."""

    actor: Actor
    action: str
    part: str
    checked: int
    differences: int

    def to_entry(self, stamp: Stamp) -> Json:
        """FHIR type `object`, life cycle event `verify` (ISO 21089) for verification."""
        details = [
            detail("action", token(self.action)),
            detail("checked", count(self.checked)),
            detail("differences", count(self.differences)),
        ]
        entry = audit_event(
            stamp,
            kind="maintenance",
            event=coding(AUDIT_TYPE, "object", "Object"),
            action="E",
            actor=self.actor,
            outcome=SERIOUS if self.differences else SUCCESS,
            entities=[entity("part", token(self.part), role=("4", "Domain Resource"), details=details)],
        )
        subtypes = entry["subtype"]
        if self.action == "verify" and isinstance(subtypes, list):
            subtypes.append(coding(LIFECYCLE, "verify", "Verify"))
        return entry


def _transaction(transaction: bytes | None) -> list[Json]:
    return [] if transaction is None else [detail("transaction", identity(transaction))]


def rights_entry(
    stamp: Stamp, kind: str, actor: Actor, patient: bytes, details: list[Json], purpose: str = ""
) -> Json:
    """PS3.15 A.5.3.11, Object Security Attributes Changed, about a patient."""
    (whose,) = patient_entity(patient)
    whose["detail"] = [*details]
    return audit_event(
        stamp,
        kind=kind,
        event=ALERT,
        action="E",
        actor=actor,
        subtypes=[_OBJECT_ATTRIBUTES],
        purpose=purpose,
        entities=[whose],
    )


def _charset(change: str, charset: str, overrides: bool) -> list[Json]:
    """Terms of (0008,0005) as tokens, joined by '+'."""
    if change != "charset":
        return []
    terms = "+".join(term.replace(" ", "-") for term in charset.split("\\")) or "none"
    return [detail("charset", token(terms)), detail("overrides", token("yes" if overrides else "no"))]
