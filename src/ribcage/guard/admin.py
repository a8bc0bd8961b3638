"""Administrative calls: only on a connection that proved the passphrase; each leaves an entry."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa

from ribcage import __version__
from ribcage.crypto import authority
from ribcage.crypto.errors import CertificateRefused, CryptoError
from ribcage.database.schema import checkpoint, instance, log_leaf, parked, study
from ribcage.evidence.audit_event import AuditLogUsed, ClockChanged, DeviceChanged, PersonChanged
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.devices import NewDevice
from ribcage.guard.errors import GuardRefused
from ribcage.guard.home import AUTHORITY_BLOB, load_issuer
from ribcage.guard.protocol import (
    AcceptClock,
    AddDevice,
    AddPerson,
    AuditEntries,
    AuditPage,
    DescribeDevice,
    DeviceAdded,
    EntryProof,
    Noted,
    ParkedItem,
    ParkedItems,
    ParkedPage,
    PersonAdded,
    ProveEntry,
    SetDeviceCharset,
    Status,
    SuspendDevice,
    SuspendPerson,
)
from ribcage.guard.rights import Rights
from ribcage.guard.sending import depth
from ribcage.guard.witness_link import best_checkpoint

_CHECKPOINTS_LOOKED_AT = 512  # for a cosigned one
Suspension = Literal["suspended", "restored"]


class Administration:
    """Persons, devices, the log and the state of the house."""

    def __init__(self, core: Core, rights: Rights) -> None:
        self._core = core
        self._rights = rights

    async def add_person(self, actor: Actor, request: AddPerson) -> PersonAdded:
        """Create a person. Raises GuardRefused('conflict' | 'invalid')."""
        core = self._core

        def write(tx: Transaction) -> tuple[bytes, str, str]:
            added = core.people.add(
                tx,
                request.username,
                request.display_name,
                request.roles,
                request.department,
                request.password,
            )
            event = PersonChanged(actor.evidence, added[0], "added", tuple(sorted(set(request.roles))))
            tx.append(core.entry(event))
            return added

        person_id, password, uri = await core.committer.run(write)
        with core.engine.connect() as connection:
            core.people.refresh(connection, person_id)
        return PersonAdded(person_id=person_id, password=password, totp_uri=uri)

    async def suspend_person(self, actor: Actor, request: SuspendPerson) -> Noted:
        """Suspend or restore; sessions and disclosures fall at once."""
        core = self._core
        person_id = await core.committer.run(
            lambda tx: core.people.suspend(tx, request.username, request.suspended)
        )
        with core.engine.connect() as connection:
            core.people.refresh(connection, person_id)
        change: Suspension = "suspended" if request.suspended else "restored"
        await self._rights.suspension(
            core.subject("person", person_id),
            request.suspended,
            lambda transaction: PersonChanged(actor.evidence, person_id, change, transaction=transaction),
        )
        return Noted()

    async def add_device(self, actor: Actor, request: AddDevice) -> DeviceAdded:
        """Register a device by its own certificate or CSR, or with a key pair made here and not kept."""
        core, now = self._core, datetime.fromtimestamp(self._core.clock(), UTC)
        try:
            leaf, chain, private_key = await asyncio.to_thread(self._certificate, request, now)
            info = authority.read_certificate(leaf)
        except CertificateRefused as failure:
            raise GuardRefused("invalid") from failure
        new = NewDevice(
            name=request.name,
            fingerprint=info.fingerprint,
            certificate_pem=info.pem,
            foreign_authority=bool(request.certificate_pem),
            not_after=info.not_after,
            ae_titles=request.ae_titles,
            may=list(request.may),
            department=request.department,
        )

        def write(tx: Transaction) -> bytes:
            identifier = core.devices.add(tx, new)
            event = DeviceChanged(actor.evidence, info.fingerprint, "added", tuple(sorted(set(request.may))))
            tx.append(core.entry(event))
            return identifier

        identifier = await core.committer.run(write)
        with core.engine.connect() as connection:
            core.devices.refresh(connection, identifier)
        return DeviceAdded(
            fingerprint=info.fingerprint,
            certificate_pem=leaf + chain,
            private_key_pem=private_key,
            authority_pem=core.keyring.load_blob(AUTHORITY_BLOB),
        )

    def _certificate(self, request: AddDevice, now: datetime) -> tuple[bytes, bytes, bytes]:
        if request.certificate_pem:
            return request.certificate_pem, b"", b""
        issuer = load_issuer(self._core.keyring)
        chain = issuer.certificate_pem
        if request.csr_pem:
            leaf = authority.issue_from_csr(issuer, request.name, request.csr_pem, now=now)
            return leaf, chain, b""
        issued = authority.issue_client(issuer, request.name, now=now)
        return issued.certificate_pem, chain, issued.private_key_pem

    async def set_device_charset(self, actor: Actor, request: SetDeviceCharset) -> Noted:
        """How a device's text is read from its next association on. Raises GuardRefused('invalid' | 'not_found')."""
        core = self._core

        def write(tx: Transaction) -> bytes:
            row = core.devices.set_charset(tx, request.name, request.charset, request.overrides)
            event = DeviceChanged(
                actor.evidence,
                bytes(row["fingerprint"]),
                "charset",
                charset=(request.charset, request.overrides),
            )
            tx.append(core.entry(event))
            return bytes(row["id"])

        device_id = await core.committer.run(write)
        with core.engine.connect() as connection:
            core.devices.refresh(connection, device_id)
        return Noted()

    async def describe_device(self, actor: Actor, request: DescribeDevice) -> Noted:
        """Owner and place; the entry says that they changed. Raises GuardRefused('invalid' | 'not_found')."""
        core = self._core

        def write(tx: Transaction) -> None:
            row = core.devices.find(request.name)
            core.equipment.describe(tx, bytes(row["id"]), request.owner, request.place)
            tx.append(core.entry(DeviceChanged(actor.evidence, bytes(row["fingerprint"]), "described")))

        await core.committer.run(write)
        return Noted()

    async def suspend_device(self, actor: Actor, request: SuspendDevice) -> Noted:
        """Suspend or restore a device."""
        core = self._core
        device_id = await core.committer.run(
            lambda tx: core.devices.suspend(tx, request.name, request.suspended)
        )
        with core.engine.connect() as connection:
            core.devices.refresh(connection, device_id)
        fingerprint = bytes(core.devices.find(request.name)["fingerprint"])
        change: Suspension = "suspended" if request.suspended else "restored"
        await self._rights.suspension(
            core.subject("device", device_id),
            request.suspended,
            lambda transaction: DeviceChanged(actor.evidence, fingerprint, change, transaction=transaction),
        )
        return Noted()

    async def accept_clock(self, actor: Actor, _: AcceptClock) -> Noted:
        """The operator accepts the clock as it is; an entry says by how much it had been off."""
        watch = self._core.clock_watch
        off = watch.off_seconds
        event = ClockChanged(actor.evidence, "accepted", int(off * 1000))
        await self._core.note(event)
        watch.accept()
        return Noted()

    # --- the log ----------------------------------------------------------------------------------------

    async def audit_page(self, actor: Actor, request: AuditPage) -> AuditEntries:
        """Entries in clear, for an operator; reading them is an entry of its own (PS3.15 A.5.3.2)."""
        core = self._core
        count = min(max(request.count, 0), core.limits.audit_page_entries)
        start = request.start if request.start >= 0 else max(core.log.size - count, 0)
        person = bytes(core.people.find(request.person)["id"]) if request.person else None
        event = AuditLogUsed(actor.evidence, start, count, person)
        await core.note(event)
        with core.engine.connect() as connection:
            query = (
                sa.select(log_leaf).where(log_leaf.c.number >= start).order_by(log_leaf.c.number).limit(count)
            )
            rows = connection.execute(query).mappings().all()
        entries = []
        for row in rows:
            body = self._body(row)
            if person is None or person.hex() in body:
                entries.append((int(row["number"]), body))
        return AuditEntries(entries=entries, size=core.log.size)

    def _body(self, row: sa.RowMapping) -> str:
        try:
            return self._core.log.open(int(row["number"]), bytes(row["sealed"]))[1].decode()
        except CryptoError:
            return '{"broken":"this row does not open: run ribcage verify"}'

    async def prove(self, actor: Actor, request: ProveEntry) -> EntryProof:
        """A portable proof of one entry."""
        return await prove_entry(self._core, request.index)

    # --- state ------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Numbers and states; no personal data."""
        core = self._core
        with core.engine.connect() as connection:
            counts = [
                int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
                for table in (study, instance, parked)
            ]
        findings = [
            *core.findings,
            *core.log.findings,
            *core.people.findings,
            *core.devices.findings,
            *core.equipment.findings,
            *core.closed.findings,
            *core.identities.findings,
            *core.witness.findings(core.clock()),
            *core.clock_watch.findings(),
            *core.disk.findings(),
            *core.emergency.findings(),
            *core.permits.findings,
            *core.permits.overdue(core.clock_watch.trusted(), core.limits.break_glass_review_hours),
        ]
        queue = depth(core)
        return Status(
            version=__version__,
            hospital=core.hospital_name,
            configuration=list(core.witness.words),
            studies=counts[0],
            instances=counts[1],
            parked=counts[2],
            log_size=core.log.size,
            ledger_height=core.ledger.height,
            epoch=core.keyring.epoch,
            started_at=core.started_at,
            findings=findings,
            witness=core.witness.state(core.clock()),
            queue_waiting=queue.waiting,
            queue_failed=queue.failed,
            queue_oldest_seconds=queue.oldest_seconds,
        )

    def parked_page(self, request: ParkedPage) -> ParkedItems:
        """Conflicts, oldest first."""
        with self._core.engine.connect() as connection:
            query = sa.select(parked).where(parked.c.pk >= request.start).order_by(parked.c.pk)
            rows = connection.execute(query.limit(min(request.count, 1000))).mappings().all()
        return ParkedItems(
            items=[
                ParkedItem(
                    ordinal=int(row["pk"]),
                    reason=str(row["reason"]),
                    received_at=float(row["received_at"]),
                    device=str(row["source"]),
                )
                for row in rows
            ]
        )


async def prove_entry(core: Core, index: int) -> EntryProof:
    """Opening and inclusion proof of one entry, under the newest cosigned checkpoint, else under a fresh one."""
    if not 0 <= index < core.log.size:
        raise GuardRefused("not_found")
    await sign_checkpoint(core)
    with core.engine.connect() as connection:
        covering = sa.select(checkpoint).where(checkpoint.c.size > index)
        newest = covering.order_by(checkpoint.c.size.desc()).limit(_CHECKPOINTS_LOOKED_AT)
        trust = core.witness.trust
        row = best_checkpoint(list(connection.execute(newest)), trust.key if trust else None)
        sealed = connection.execute(
            sa.select(log_leaf.c.sealed).where(log_leaf.c.number == index)
        ).scalar_one()
        if row is None:
            raise GuardRefused("unavailable")
        path = core.log.prove(connection, index, int(row.size))
    salt, body = core.log.open(index, bytes(sealed))
    return EntryProof(
        index=index,
        body=body,
        salt=salt,
        path=path,
        checkpoint=bytes(row.note),
        verifier_key=core.log.epochs.verifier_key(int(row.size)),
    )


async def sign_checkpoint(core: Core) -> None:
    """Make a checkpoint of the present tree durable, if entries came since the last, or to try a failing disk again.

    The key store remembers it before anybody sees it. A log that is an older copy is not signed: its key would
    sign two histories.
    """
    if not (core.log.unsigned or core.disk.failing) or core.ledger_behind:
        return

    def write(tx: Transaction) -> tuple[int, bytes]:
        size, note = core.log.checkpoint_row()
        row = {"size": size, "note": note}
        tx.connection.execute(sa.insert(checkpoint).prefix_with("OR REPLACE"), row)
        return size, note

    size, note = await core.committer.run(write)
    core.log.signed(size)
    await asyncio.to_thread(core.second.remember_head, size, note)
