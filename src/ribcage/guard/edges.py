"""Edges, as the guard sees them: whose entries open, in whose name, in which order, and what they are told.

Rules, in order (docs/adr/0018):
1. An edge is a registered device with the right `edge` and a signing key; it may do nothing else. An entry counts
   when its header names that device and its signature verifies; a certificate alone, or another edge's signature,
   opens nothing.
2. Entries are taken in their order, each once. The next one opens; the one before is answered with the receipt it
   got; any other is refused as a conflict. Only an operator passes over numbers that will never come, forward.
3. The private key that opens entries never leaves; a front gets the key of one entry, under a lease whose log entry
   is durable, and for an edge and a modality that are not suspended.
4. A modality behind an edge is a device without a certificate: its identity is what its edge signed. It is admitted
   with the very data set whose hash stands in the entry that is open, so that a front cannot speak in its name.
5. A receipt is signed after the row and the log entry are durable; `taken` only where the index holds that data set.
6. What an edge says of itself is kept in memory, for `status`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ribcage.crypto import authority, hybrid
from ribcage.crypto.errors import CertificateRefused, KeyUnknown, RowTampered, SealBroken
from ribcage.database.edge_tables import edge, edge_device
from ribcage.database.schema import filed, instance, parked
from ribcage.evidence.audit_event import DeviceChanged, EdgeTold
from ribcage.evidence.edge_entry import EntryFront, key_info
from ribcage.evidence.edge_receipt import EdgeReceipt, Outcome, sign_receipt
from ribcage.evidence.errors import EdgeEntryRefused, EntryInvalid
from ribcage.guard import protocol as p
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.devices import NewDevice
from ribcage.guard.errors import GuardRefused
from ribcage.guard.home import authority_pem, load_issuer

_BLOB = "edge-seed"
_SIGNING_KEY_BYTES = 32
_MOST_MODALITIES = 64
_MOST_ENTRIES = 1 << 62
_NEVER = datetime(9999, 12, 31, tzinfo=UTC)  # a modality has no certificate that could end: its edge's does


@dataclass(frozen=True)
class _Open:
    """The entry of an edge that a front has the key of."""

    front: EntryFront
    device: bytes  # the modality's id


class Edges:
    """The registry of edges, in memory, with its durable copy in the database."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._rows: dict[bytes, dict[str, Any]] = {}
        self._edge_of: dict[bytes, bytes] = {}  # by the modality's device id
        self._open: dict[bytes, _Open] = {}  # by edge: one at a time (rule 2)
        self._leased: dict[bytes, float] = {}
        self._seen: dict[bytes, tuple[float, p.EdgeReport | None]] = {}
        with core.engine.connect() as connection:
            self._load(connection)

    # --- operators --------------------------------------------------------------------------------------

    async def trust(self, actor: Actor, request: p.TrustEdge) -> p.EdgeTrusted:
        """Register an edge, or more modalities of one. Raises GuardRefused('invalid' | 'conflict')."""
        core = self._core
        titles = [each.ae_title for each in request.modalities]
        good = len(request.signing_key) == _SIGNING_KEY_BYTES and 0 < len(titles) <= _MOST_MODALITIES
        if not good or len(set(titles)) != len(titles):
            raise GuardRefused("invalid")
        try:
            issuer = load_issuer(core.keyring)
            now = datetime.fromtimestamp(core.clock(), UTC)
            leaf = authority.issue_from_csr(issuer, request.name, request.csr_pem, now=now)
            known = self._known(request)
        except CertificateRefused as failure:
            raise GuardRefused("invalid") from failure
        leaf = leaf if known is None else bytes(known["certificate_pem"])
        identifiers = await core.committer.run(lambda tx: self._register(tx, actor, request, leaf, known))
        with core.engine.connect() as connection:
            for identifier in identifiers:
                core.devices.refresh(connection, identifier)
            self._load(connection)
        mine = [row for row in core.devices.all() if self._edge_of.get(bytes(row["id"])) == identifiers[0]]
        return p.EdgeTrusted(
            edge=identifiers[0],
            hospital=core.hospital,
            certificate_pem=leaf + issuer.certificate_pem,
            authority_pem=authority_pem(core),
            log_key=core.log.signer.key.encode(),
            seal_key=self._private().public_key,
            modalities=[p.EdgeModality(str(row["ae_titles"]), bytes(row["id"])) for row in mine],
        )

    def _known(self, request: p.TrustEdge) -> dict[str, Any] | None:
        """The device of this name, if it is this very edge. Raises GuardRefused('conflict')."""
        try:
            device = self._core.devices.find(request.name)
        except GuardRefused:
            return None
        row = self._rows.get(bytes(device["id"]))
        if row is None or bytes(row["signing_key"]) != request.signing_key:
            raise GuardRefused("conflict")
        return device

    def _register(
        self, tx: Transaction, actor: Actor, request: p.TrustEdge, leaf: bytes, known: dict[str, Any] | None
    ) -> list[bytes]:
        core = self._core
        if known is None:
            info = authority.read_certificate(leaf)
            added = NewDevice(
                request.name, info.fingerprint, info.pem, False, info.not_after, [request.ae_title], ["edge"],
                request.department,
            )  # fmt: skip
            identifier = core.devices.add(tx, added)
            values = {"id": identifier, "signing_key": request.signing_key, "sequence": 0}
            core.rows.insert(tx.connection, edge, {**values, "digest": b"", "receipt": b""})
            tx.append(core.entry(DeviceChanged(actor.evidence, info.fingerprint, "added", ("edge",))))
        else:
            identifier = bytes(known["id"])
            self._pass_over(tx, identifier, request.go_on_at)
        held = {
            str(row["ae_titles"])
            for row in core.devices.all()
            if self._edge_of.get(bytes(row["id"])) == identifier
        }
        made = [identifier]
        for each in request.modalities:
            if each.ae_title in held:
                continue
            fingerprint = hashlib.sha256(b"ribcage/edge/device/v1" + os.urandom(32)).digest()
            name = f"{request.name}/{each.ae_title}"
            behind = NewDevice(
                name, fingerprint, b"", False, _NEVER, [each.ae_title], ["store"], request.department
            )
            made.append(core.devices.add(tx, behind))
            core.rows.insert(tx.connection, edge_device, {"id": made[-1], "edge_id": identifier})
            tx.append(core.entry(DeviceChanged(actor.evidence, fingerprint, "added", ("store",))))
        digest = hashlib.sha256(request.signing_key).digest()
        tx.append(core.entry(EdgeTold(actor.evidence, identifier, "trusted", request.go_on_at, digest)))
        return made

    def _pass_over(self, tx: Transaction, identifier: bytes, go_on_at: int) -> None:
        """Rule 2. Raises GuardRefused('invalid') backwards."""
        if not go_on_at:
            return
        held = self._held(tx.connection, identifier)
        if not int(held["sequence"]) + 1 < go_on_at < _MOST_ENTRIES:
            raise GuardRefused("invalid")
        values = dict(held, sequence=go_on_at - 1, digest=b"", receipt=b"")
        self._core.rows.update(tx.connection, edge, values)

    def _held(self, connection: sa.Connection, identifier: bytes) -> dict[str, Any]:
        """An edge's row as the database has it."""
        found = connection.execute(sa.select(edge).where(edge.c.id == identifier)).mappings().one()
        return self._core.rows.check(edge, found)

    # --- fronts -----------------------------------------------------------------------------------------

    async def open(self, actor: Actor, request: p.OpenEdgeEntry) -> p.EdgeEntryOpened | p.EdgeAnswer:
        """The key of an edge's next entry. Raises GuardRefused('not_permitted' | 'invalid' | 'conflict')."""
        core = self._core
        row = self._row(actor)
        self._note(actor)
        front = self._read(actor, row, request.front)
        header = front.header
        if header.sequence == row["sequence"] and front.digest == bytes(row["digest"]):
            return p.EdgeAnswer(bytes(row["receipt"]))
        _check_next(header.sequence, int(row["sequence"]))
        if self._edge_of.get(header.device) != header.edge:
            raise GuardRefused("not_permitted")
        core.witness.check_not_behind()
        device = self._device(header.device)
        try:
            key = self._private().open_key(front.wrapped, key_info(header))
        except SealBroken as failure:
            raise GuardRefused("invalid") from failure
        await self._lease(actor, header.edge)
        self._open[header.edge] = _Open(front, header.device)
        return p.EdgeEntryOpened(
            p.Device(bytes(device["fingerprint"]), str(device["ae_titles"]), actor.address),
            core.hospital,
            key,
        )

    async def over(self, actor: Actor, request: p.EdgeEntryOver) -> p.EdgeAnswer:
        """Sign what became of an opened entry (rule 5). Raises GuardRefused."""
        core, row = self._core, self._row(actor)
        front = self._read(actor, row, request.front)
        header = front.header
        if (header.sequence, front.digest) == (row["sequence"], bytes(row["digest"])):
            return p.EdgeAnswer(bytes(row["receipt"]))
        opened = self._open.get(header.edge)
        if opened is None or opened.front != front:
            raise GuardRefused("conflict")
        if not request.reason and not self._holds(request.sop_instance_uid, header.data_set_sha256):
            raise GuardRefused("not_found")
        outcome: Outcome = "refused" if request.reason else "taken"
        try:
            told = EdgeReceipt.of(front, core.hospital, int(core.clock() * 1000), outcome, request.reason)
            receipt = sign_receipt(told, core.log.signer)
        except EntryInvalid as failure:
            raise GuardRefused("invalid") from failure
        event = EdgeTold(
            actor.evidence, header.edge, outcome, header.sequence, front.digest, header.data_set_sha256
        )

        def write(tx: Transaction) -> dict[str, Any]:
            now = self._held(tx.connection, header.edge)
            if int(now["sequence"]) != header.sequence - 1:
                raise GuardRefused("conflict")
            values = dict(now, sequence=header.sequence, digest=front.digest, receipt=receipt)
            tx.append(core.entry(event))
            return core.rows.update(tx.connection, edge, values)

        self._rows[header.edge] = await core.committer.run(write)
        self._open.pop(header.edge, None)
        return p.EdgeAnswer(receipt)

    async def report(self, actor: Actor, request: p.EdgeReport) -> p.Noted:
        """What an edge says of itself (rule 6). Raises GuardRefused('not_permitted' | 'invalid')."""
        self._row(actor)
        if min(request.waiting, request.waiting_bytes, request.oldest_seconds, request.refused) < 0:
            raise GuardRefused("invalid")
        self._note(actor, request)
        return p.Noted()

    def check(self, actor: Actor, data_set_sha256: bytes) -> None:
        """Rule 4, for whoever is admitted; an empty hash while it arrives. Raises GuardRefused('not_permitted')."""
        if actor.device is None or actor.device.device_id not in self._edge_of:
            return
        opened = self._open.get(self._edge_of[actor.device.device_id])
        fits = opened is not None and opened.device == actor.device.device_id
        if opened is None or not fits or data_set_sha256 not in (b"", opened.front.header.data_set_sha256):
            raise GuardRefused("not_permitted")

    def seen(self) -> list[p.EdgeSeen]:
        """Every edge, for `status`, by name."""
        listed = []
        for row in self._core.devices.all():
            held = self._rows.get(bytes(row["id"]))
            if held is None:
                continue
            at, told = self._seen.get(bytes(row["id"]), (0.0, None))
            numbers = (told.waiting, told.waiting_bytes, told.oldest_seconds, told.refused) if told else ()
            listed.append(p.EdgeSeen(str(row["name"]), int(held["sequence"]), at, *numbers))
        return listed

    # --- inside -----------------------------------------------------------------------------------------

    def _load(self, connection: sa.Connection) -> None:
        core = self._core
        for table in (edge, edge_device):
            for row in core.rows.all(connection, table):
                try:
                    held = core.rows.check(table, row)
                except RowTampered:
                    core.findings.append(f"a row of {table.name} does not carry the guard's MAC: ignored")
                    continue
                if table is edge:
                    self._rows[bytes(held["id"])] = held
                else:
                    self._edge_of[bytes(held["id"])] = bytes(held["edge_id"])

    def _row(self, actor: Actor) -> dict[str, Any]:
        """The edge that asks (rule 1). Raises GuardRefused('not_permitted')."""
        row = None if actor.device is None else self._rows.get(actor.device.device_id)
        if row is None or actor.device is None or "edge" not in actor.device.may:
            raise GuardRefused("not_permitted")
        return row

    def _read(self, actor: Actor, row: dict[str, Any], data: bytes) -> EntryFront:
        """A front that this edge signed (rule 1). Raises GuardRefused('invalid' | 'not_permitted')."""
        try:
            front = EntryFront.parse(data)
            _check_sender(front, actor)
            front.verify(bytes(row["signing_key"]))
        except EdgeEntryRefused as failure:
            raise GuardRefused("invalid") from failure
        return front

    def _device(self, identifier: bytes) -> dict[str, Any]:
        """The modality's row, as one that may be admitted now. Raises GuardRefused('not_authenticated')."""
        core = self._core
        row = next((each for each in core.devices.all() if bytes(each["id"]) == identifier), None)
        if row is None:
            raise GuardRefused("not_authenticated")
        core.devices.identify(bytes(row["fingerprint"]), None, core.clock())
        return row

    async def _lease(self, actor: Actor, identifier: bytes) -> None:
        now = self._core.clock()
        if now < self._leased.get(identifier, 0.0):
            return
        await self._core.note(EdgeTold(actor.evidence, identifier, "opening"))
        self._leased[identifier] = now + self._core.limits.admission_lease_seconds

    def _holds(self, uid: str, digest: bytes) -> bool:
        """Whether the index, or what is kept apart, has this data set."""
        kept = [sa.exists().where(table.c.data_set_sha256 == digest) for table in (parked, filed)]
        held = sa.exists().where(instance.c.uid == uid, instance.c.data_set_sha256 == digest)
        with self._core.engine.connect() as connection:
            return bool(connection.execute(sa.select(sa.or_(held, *kept))).scalar_one())

    def _private(self) -> hybrid.HybridPrivate:
        """The key that opens entries, made when the first edge is trusted. Raises KeyStoreFailure."""
        keyring = self._core.keyring
        try:
            seed = keyring.load_blob(_BLOB)
        except KeyUnknown:
            seed = hybrid.new_seed()
            keyring.store_blob(_BLOB, seed)
        return hybrid.HybridPrivate(seed)

    def _note(self, actor: Actor, told: p.EdgeReport | None = None) -> None:
        before = self._seen.get(actor.identifier, (0.0, None))[1]
        self._seen[actor.identifier] = (self._core.clock(), told or before)


def _check_sender(front: EntryFront, actor: Actor) -> None:
    """Rule 1: an edge brings its own entries. Raises GuardRefused('not_permitted')."""
    if front.header.edge != actor.identifier:
        raise GuardRefused("not_permitted")


def _check_next(sequence: int, answered: int) -> None:
    """Rule 2. Raises GuardRefused('conflict')."""
    if sequence != answered + 1:
        raise GuardRefused("conflict")
