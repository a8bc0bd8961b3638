"""What the guard's rooms share, and who is asking."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from ribcage.crypto.blind import BlindIndex
from ribcage.crypto.derive import derive
from ribcage.evidence.audit_event import (
    DeviceActor,
    Event,
    OperatorActor,
    PersonActor,
    Stamp,
    entry_body,
)
from ribcage.guard import patient_entries
from ribcage.guard.alarms import Alarms
from ribcage.guard.clock import ClockWatch
from ribcage.guard.closed import ClosedStudies
from ribcage.guard.committer import Committer, Transaction
from ribcage.guard.devices import Devices, KnownDevice
from ribcage.guard.disk import DiskWatch
from ribcage.guard.emergency import EmergencyJournal
from ribcage.guard.equipment import Equipment
from ribcage.guard.errors import GuardRefused
from ribcage.guard.identities import Identities
from ribcage.guard.keyring import Keyring
from ribcage.guard.limits import GuardLimits
from ribcage.guard.log import AuditLog
from ribcage.guard.people import People, Visitor
from ribcage.guard.permits import Permits
from ribcage.guard.protocol import Device, Operator, Principal, Release, Session
from ribcage.guard.rows import MacRows
from ribcage.guard.running_releases import RunningReleases
from ribcage.guard.second_journal import SecondJournal
from ribcage.guard.witness_watch import WitnessWatch
from ribcage.ledger.client import AccessLedger

JournalCheck = Callable[[Iterable[tuple[int, int, bytes]]], tuple[int, bytes]]


@dataclass(frozen=True)
class Actor:
    """A verified principal. `subject` is its identifier on the ledger (32 bytes)."""

    kind: str  # "device", "person", "operator", "project"
    identifier: bytes  # 16 bytes
    digest: bytes  # 32 bytes: what a receipt is bound to
    subject: bytes
    address: str
    department: str
    evidence: DeviceActor | PersonActor | OperatorActor  # how the log names it
    device: KnownDevice | None = None
    visitor: Visitor | None = None

    @property
    def source(self) -> str:
        """How rows name where an instance came from."""
        return "operator" if self.kind == "operator" else f"{self.kind}:{self.identifier.hex()}"


@dataclass
class Core:
    """Everything the guard's request handlers work with. Built once by `guard.home.open_core`."""

    limits: GuardLimits
    clock: Callable[[], float]
    hospital: bytes  # 16 bytes
    hospital_name: str
    keyring: Keyring
    engine: sa.Engine
    rows: MacRows
    log: AuditLog
    committer: Committer
    people: People
    devices: Devices
    equipment: Equipment
    closed: ClosedStudies
    identities: Identities
    ledger: AccessLedger
    check_journal: JournalCheck
    blind: BlindIndex
    objects_root: str
    started_at: float
    witness: WitnessWatch
    clock_watch: ClockWatch
    disk: DiskWatch
    lock: int  # descriptor of the home's lock, held until `close`
    second: SecondJournal
    permits: Permits
    emergency: EmergencyJournal
    ledger_behind: bool = False  # log or key store know a change of rights that the database lacks
    any_rejected: bool = False  # else nothing is looked up for what is shown (`guard.rejections`)
    findings: list[str] = field(default_factory=list)
    alarms: Alarms = field(default_factory=Alarms)
    releases: RunningReleases = field(default_factory=RunningReleases)

    def close(self) -> None:
        """Commit what waits, close database and key store, give the home free. Call it once, at the end."""
        self.committer.stop()
        self.engine.dispose()
        self.second.close()
        self.emergency.close()
        self.keyring.close()
        os.close(self.lock)

    def actor(self, principal: Principal, *, operator: bool = False) -> Actor:
        """Verify who asks. Raises GuardRefused('not_authenticated').

        `operator` tells that the connection has proved the passphrase; nobody else may be an Operator.
        """
        if isinstance(principal, Session):
            visitor = self.people.visitor(principal, self.clock_watch.trusted())
            return self._person(visitor, principal.address)
        if isinstance(principal, Device):
            title = principal.ae_title or None
            known = self.devices.identify(principal.fingerprint, title, self.clock())
            return Actor(
                kind="device",
                identifier=known.device_id,
                digest=principal.fingerprint,
                subject=self.subject("device", known.device_id),
                address=principal.address,
                department=known.department,
                evidence=DeviceActor(principal.fingerprint, principal.address, principal.ae_title),
                device=known,
            )
        if isinstance(principal, Release):
            return self._project(principal)
        return self._operator(principal, operator)

    def again(self, actor: Actor, principal: Principal | None = None) -> Actor:
        """The same principal now; a session by its id: its secret may be another. Raises GuardRefused."""
        if actor.visitor is None:
            if principal is None:
                raise GuardRefused("not_authenticated")
            return self.actor(principal)
        return self._person(self.people.revisit(actor.visitor, self.clock_watch.trusted()), actor.address)

    def _person(self, visitor: Visitor, address: str) -> Actor:
        return Actor(
            kind="person",
            identifier=visitor.person_id,
            digest=hashlib.sha256(b"session" + visitor.session_id).digest(),
            subject=self.subject("person", visitor.person_id),
            address=address,
            department=visitor.department,
            evidence=PersonActor(visitor.person_id, address, visitor.assurance(self.clock_watch.trusted())),
            visitor=visitor,
        )

    def _project(self, principal: Release) -> Actor:
        running = self.releases.find(principal.ticket, self.clock_watch.trusted())
        if not self.people.active(running.officer):
            raise GuardRefused("not_authenticated")
        return Actor(
            kind="project",
            identifier=running.project,
            digest=hashlib.sha256(b"release" + principal.ticket).digest(),
            subject=self.subject("project", running.project),
            address=principal.address,
            department="",
            evidence=PersonActor(running.officer, principal.address, running.assurance),
        )

    def _operator(self, principal: Operator, proved: bool) -> Actor:
        if not proved:
            raise GuardRefused("not_authenticated")
        digest = hashlib.sha256(b"operator" + principal.name.encode()).digest()
        return Actor(
            kind="operator",
            identifier=digest[:16],
            digest=digest,
            subject=self.subject("operator", digest[:16]),
            address="",
            department="",
            evidence=OperatorActor(principal.name),
        )

    def entry(self, event: Event, at: float | None = None) -> bytes:
        """The canonical body of an audit entry, stamped with the time we trust, or with when it happened."""
        moment = self.clock_watch.trusted() if at is None else at
        return entry_body(event, Stamp(int(moment * 1000), self.hospital))

    def append(self, tx: Transaction, event: Event, at: float | None = None) -> int:
        """Add an entry that may concern a patient, whose index is written with it; its number in the log."""
        number = tx.append(self.entry(event, at))
        patient_entries.note(tx.connection, number, event)
        return number

    async def note(self, event: Event) -> int:
        """Make one entry durable that stands alone; its number in the log. Raises GuardUnavailable."""
        return await self.committer.run(lambda tx: self.append(tx, event))

    def subject(self, kind: str, identifier: bytes) -> bytes:
        """A person's or device's identifier on the ledger."""
        return derive(self.keyring.service("ledger-identifiers"), f"ledger/{kind}", identifier)

    def department(self, name: str) -> bytes:
        """A department's identifier on the ledger."""
        return derive(self.keyring.service("ledger-identifiers"), "ledger/department", name.encode())

    @staticmethod
    def patient_resource(patient_key: bytes) -> bytes:
        """A patient's identifier on the ledger: from the patient's own key, so that it dies with it."""
        return derive(patient_key, "ledger/patient")

    @staticmethod
    def study_resource(patient_key: bytes, study_uid: str) -> bytes:
        """A study's identifier on the ledger."""
        return derive(patient_key, "ledger/study", study_uid.encode())
