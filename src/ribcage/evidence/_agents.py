"""Who acted, and the frame that all FHIR AuditEvents share (PS3.15 A.5.2, FHIR R4 AuditEvent)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ribcage.evidence.entry import (
    DCM,
    ENTITY_TYPE,
    EVENT_SYSTEM,
    OBJECT_ROLE,
    PROFILE,
    PURPOSES,
    SOURCE_TYPE,
    Json,
    Stamp,
    ae_title,
    coding,
    identity,
    network,
    token,
)

Outcome = Literal["0", "4", "8", "12"]  # success, minor, serious, major failure
SUCCESS: Outcome = "0"
MINOR: Outcome = "4"
SERIOUS: Outcome = "8"


@dataclass(frozen=True)
class DeviceActor:
    """A peer by the SHA-256 of its certificate (32 bytes), with the AE title it used ('' on HTTP)."""

    fingerprint: bytes
    address: str
    ae_title: str = ""

    def reference(self) -> str:
        """Short form for compact leaves."""
        return f"device:{identity(self.fingerprint)}"

    def agents(self, *, requestor: bool = True) -> list[Json]:
        """FHIR agents."""
        agent = _agent("certificate-sha256", identity(self.fingerprint), requestor=requestor)
        agent["network"] = network(self.address)
        if self.ae_title:
            agent["altId"] = f"AETITLES={ae_title(self.ae_title)}"
        return [agent]


@dataclass(frozen=True)
class PersonActor:
    """A person by id (16 bytes) with the session's assurance; `via` is the workstation it worked at."""

    person: bytes
    address: str
    assurance: int = 1
    via: DeviceActor | None = None

    def reference(self) -> str:
        """Short form for compact leaves."""
        return f"person:{identity(self.person)}"

    def agents(self, *, requestor: bool = True) -> list[Json]:
        """FHIR agents."""
        agent = _agent("person", identity(self.person), requestor=requestor)
        agent["network"] = network(self.address)
        agent["policy"] = [f"urn:ribcage:assurance:{int(self.assurance)}"]
        return [agent, *(self.via.agents(requestor=False) if self.via else [])]


@dataclass(frozen=True)
class PatientActor:
    """A patient by internal pseudonymous id (16 bytes), who came by an invitation or a passkey."""

    patient: bytes
    address: str

    def reference(self) -> str:
        """Short form for compact leaves."""
        return f"patient:{identity(self.patient)}"

    def agents(self, *, requestor: bool = True) -> list[Json]:
        """FHIR agents."""
        agent = _agent("patient", identity(self.patient), requestor=requestor)
        agent["network"] = network(self.address)
        return [agent]


@dataclass(frozen=True)
class OperatorActor:
    """The local administrator by login name (a short label)."""

    name: str

    def reference(self) -> str:
        """Short form for compact leaves."""
        return f"operator:{token(self.name)}"

    def agents(self, *, requestor: bool = True) -> list[Json]:
        """FHIR agents."""
        return [_agent("operator", token(self.name), requestor=requestor)]


@dataclass(frozen=True)
class SystemActor:
    """A part of the archive itself, for example 'guard' or 'supervisor'."""

    component: str

    def reference(self) -> str:
        """Short form for compact leaves."""
        return f"component:{token(self.component)}"

    def agents(self, *, requestor: bool = True) -> list[Json]:
        """FHIR agents."""
        return [_agent("component", token(self.component), requestor=requestor)]


@dataclass(frozen=True)
class StrangerActor:
    """Somebody who proved nothing: only the address, and an AE title if one was sent."""

    address: str
    ae_title: str = ""

    def reference(self) -> str:
        """Short form for compact leaves."""
        return "stranger"

    def agents(self, *, requestor: bool = True) -> list[Json]:
        """FHIR agents."""
        agent: Json = {
            "network": network(self.address),
            "requestor": requestor,
            "who": {"display": "unknown"},
        }
        if self.ae_title:
            agent["altId"] = f"AETITLES={ae_title(self.ae_title)}"
        return [agent]


Actor = DeviceActor | PersonActor | PatientActor | OperatorActor | SystemActor | StrangerActor


def audit_event(
    stamp: Stamp,
    *,
    kind: str,
    event: Json,
    action: Literal["C", "R", "U", "D", "E"],
    actor: Actor,
    subtypes: Sequence[tuple[str, str]] = (),
    outcome: Outcome = SUCCESS,
    reason: str = "",
    purpose: str = "",
    entities: Sequence[Json] = (),
) -> Json:
    """Assemble an AuditEvent. `event` is its type; `subtypes` are DCM (code, meaning) pairs."""
    entry: Json = {
        "action": action,
        "agent": [*actor.agents()],
        "meta": {"profile": [PROFILE]},
        "outcome": outcome,
        "recorded": stamp.recorded(),
        "resourceType": "AuditEvent",
        "source": {
            "observer": {"identifier": {"system": "urn:ribcage:component", "value": "guard"}},
            "site": identity(stamp.hospital),
            "type": [coding(SOURCE_TYPE, "4", "Application Server")],
        },
        "subtype": [coding(EVENT_SYSTEM, kind), *(coding(DCM, *pair) for pair in subtypes)],
        "type": dict(event),
    }
    if reason:
        entry["outcomeDesc"] = token(reason)
    if purpose:
        entry["purposeOfEvent"] = [{"coding": [coding(PURPOSES, token(purpose))]}]
    if entities:
        entry["entity"] = [*entities]
    return entry


def entity(
    system: str, value: str, *, role: tuple[str, str], person: bool = False, details: Sequence[Json] = ()
) -> Json:
    """A FHIR entity, identified in one of this archive's own systems (`urn:ribcage:SYSTEM`)."""
    kind = ("1", "Person") if person else ("2", "System Object")
    made: Json = {
        "role": coding(OBJECT_ROLE, *role),
        "type": coding(ENTITY_TYPE, *kind),
        "what": {"identifier": {"system": f"urn:ribcage:{system}", "value": value}},
    }
    if details:
        made["detail"] = [*details]
    return made


def patient_entity(patient: bytes | None) -> list[Json]:
    """The patient by pseudonymous id, if one is known."""
    if patient is None:
        return []
    return [entity("patient", identity(patient), role=("1", "Patient"), person=True)]


def _agent(system: str, value: str, *, requestor: bool) -> Json:
    return {
        "requestor": requestor,
        "who": {"identifier": {"system": f"urn:ribcage:{system}", "value": value}},
    }
