"""The way in, as the guard sees it: sealing keys against an admission, rows and entry against the sealed file.

Rules, in order:
1. A sealing key is given under a lease whose entry is durable (receipt kind `admit`); one lease for each principal
   and study, at most 15 minutes. What a person saves about a study needs a receipt of `guard.derivation` besides.
2. The same SOP Instance UID with the same data set hash is held already: success, no second copy; a parked one too.
3. The same UID with another hash, a patient or a series that contradicts the study: parked under a key of its own.
   The peer is answered as if it were new; nothing tells what exists.
4. What belongs to a study that was approved for destruction, or destroyed, is parked too: it adds nothing there.
5. `Commit` is answered after row and leaf are durable.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, seal_column
from ribcage.crypto.derive import object_key
from ribcage.crypto.sealing import Algorithm, Stream
from ribcage.database.schema import instance, parked, series
from ribcage.evidence.audit_event import (
    Event,
    InstanceParked,
    InstanceStored,
    InstancesTransferred,
    SealingLeased,
)
from ribcage.guard import catalogue
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.derivation import Derivations
from ribcage.guard.errors import GuardRefused
from ribcage.guard.people import STORING_ROLES
from ribcage.guard.protocol import (
    SAVED_CLASSES,
    Admit,
    Admitted,
    AlreadyHeld,
    Commit,
    Committed,
    IngestClosed,
    IngestNoted,
)

_ID_BYTES = 16
_HASH_BYTES = 32
_REMEMBERED = 65_536  # instances that were sent again


@dataclass
class _Admission:
    actor: Actor
    request: Admit
    object_id: bytes
    key_id: bytes
    key: bytes
    study: HeldStudy
    epoch: int
    opened_at: float
    parked: str  # "" or the reason
    key_context: bytes


class Ingest:
    """Pending admissions and leases."""

    def __init__(self, core: Core, derivations: Derivations) -> None:
        self._core = core
        self._derivations = derivations
        self._leases: dict[tuple[bytes, str], tuple[float, HeldStudy]] = {}
        self._admissions: dict[bytes, _Admission] = {}
        self._sent_again: dict[tuple[str, str], None] = {}

    # --- admit ------------------------------------------------------------------------------------------

    async def admit(self, actor: Actor, request: Admit) -> Admitted | AlreadyHeld:
        """Keys for one new object. Raises GuardRefused."""
        self._check_permission(actor, request)
        self._core.witness.check_not_behind()
        self._core.disk.check_may_store()
        self._forget_abandoned()
        if len(self._admissions) >= self._core.limits.pending_admissions:
            raise GuardRefused("throttled")
        if len(request.data_set_sha256) != _HASH_BYTES:
            raise GuardRefused("invalid")
        with self._core.engine.connect() as connection:
            held_hash = self._held_hash(connection, request.attributes.sop_instance_uid)
            parked_twin = self._is_parked(connection, request.data_set_sha256)
        if held_hash == request.data_set_sha256 or parked_twin:
            self._note_sent_again(actor, request.attributes.sop_instance_uid)
            return AlreadyHeld()
        study = await self._lease(actor, request)
        reason = self._closed(study) or self._contradiction(study, request, held_hash)
        admission = self._open_admission(actor, request, study, reason)
        token = os.urandom(_ID_BYTES)
        self._admissions[token] = admission
        return self._keys(token, admission)

    def was_sent_again(self, actor: Actor, uid: str) -> bool:
        """Whether this principal sent what was held already, of those remembered."""
        return (actor.source, uid) in self._sent_again

    def _note_sent_again(self, actor: Actor, uid: str) -> None:
        self._sent_again[actor.source, uid] = None
        if len(self._sent_again) > _REMEMBERED:
            del self._sent_again[next(iter(self._sent_again))]

    def _forget_abandoned(self) -> None:
        """Admissions that nobody committed in time; a parked one's fresh key goes with it."""
        oldest = self._core.clock() - self._core.limits.admission_lease_seconds
        for token, admission in list(self._admissions.items()):
            if admission.opened_at >= oldest:
                break  # in order of opening
            del self._admissions[token]
            if admission.parked:
                self._core.keyring.discard([admission.key_id])

    def _check_permission(self, actor: Actor, request: Admit) -> None:
        if actor.visitor is not None and request.attributes.sop_class_uid in SAVED_CLASSES:
            self._derivations.use(actor, request)
            return
        if actor.kind == "operator":
            return
        if actor.device is not None and "store" in actor.device.may:
            return
        if actor.visitor is not None and actor.visitor.roles & STORING_ROLES:
            return
        raise GuardRefused("not_permitted")

    def _held_hash(self, connection: sa.Connection, uid: str) -> bytes | None:
        found = connection.execute(
            sa.select(instance.c.data_set_sha256).where(instance.c.uid == uid)
        ).scalar()
        return None if found is None else bytes(found)

    def _is_parked(self, connection: sa.Connection, data_set_sha256: bytes) -> bool:
        """A peer that sends the same conflict again fills no disk: it is held apart already."""
        query = sa.select(parked.c.pk).where(parked.c.data_set_sha256 == data_set_sha256).limit(1)
        return connection.execute(query).first() is not None

    async def _lease(self, actor: Actor, request: Admit) -> HeldStudy:
        core, now = self._core, self._core.clock()
        lease = self._leases.get((actor.digest, request.attributes.study_instance_uid))
        if lease is not None and now < lease[0]:
            return lease[1]

        def write(tx: Transaction) -> HeldStudy:
            held = self._destroyed(request.attributes.study_instance_uid)
            held = held or catalogue.hold(core, tx.connection, request.attributes.study_instance_uid)
            if held is None:
                department = actor.department or "radiology"
                held = catalogue.make_study(core, tx, request.attributes, department)
            event = SealingLeased(actor.evidence, held.key_id, held.patient_id, request.channel)
            tx.append(core.entry(event))
            return held

        held = await core.committer.run(write)
        expired = [key for key, (until, _) in self._leases.items() if until <= now]
        for key in expired:
            del self._leases[key]
        until = now + core.limits.admission_lease_seconds
        self._leases[(actor.digest, request.attributes.study_instance_uid)] = (until, held)
        return held

    def _destroyed(self, uid: str) -> HeldStudy | None:
        """A destroyed study, by name only: it has no keys and no row."""
        closed = self._core.closed
        found = closed.find(self._core.blind.exact("study", uid)) if len(closed) else None
        if found is None or not found.destroyed:
            return None
        return HeldStudy(-1, uid, found.patient_id, b"", found.key_id, b"", None, "")

    def _closed(self, study: HeldStudy) -> str:
        if not study.key:
            return "study_destroyed"
        return "study_closed" if self._core.closed.closes(study.key_id) else ""

    def forget_study(self, key_id: bytes) -> None:
        """Drop leases and open admissions of a study that was closed: their peers send again, and are parked."""
        for name, (_, held) in list(self._leases.items()):
            if held.key_id == key_id:
                del self._leases[name]
        for token, admission in list(self._admissions.items()):
            if admission.key_id == key_id:
                del self._admissions[token]

    def _contradiction(self, study: HeldStudy, request: Admit, held_hash: bytes | None) -> str:
        if held_hash is not None:
            return "hash_mismatch"
        attributes = request.attributes
        if request.derivation and not attributes.issuer_of_patient_id.strip():
            issuer = self._derivations.issuer(study)
            attributes = msgspec.structs.replace(attributes, issuer_of_patient_id=issuer)
        if catalogue.patient_token(self._core, attributes) != study.token:
            return "patient_mismatch"
        with self._core.engine.connect() as connection:
            owner = _series_owner(connection, request)
        return "series_mismatch" if owner is not None and owner != study.pk else ""

    def _open_admission(self, actor: Actor, request: Admit, study: HeldStudy, reason: str) -> _Admission:
        object_id, epoch, now = os.urandom(_ID_BYTES), self._core.keyring.epoch, self._core.clock()
        if not reason:
            return _Admission(actor, request, object_id, study.key_id, study.key, study, epoch, now, "", b"")
        context = catalogue.parked_context(self._core, object_id)
        key_id, key = self._core.keyring.new_key("parked", context)
        return _Admission(actor, request, object_id, key_id, key, study, epoch, now, reason, context)

    def _keys(self, token: bytes, admission: _Admission) -> Admitted:
        core = self._core
        header, bulk = (
            object_key(
                admission.key,
                hospital=core.hospital,
                key_id=admission.key_id,
                object_id=admission.object_id,
                stream=stream,
            )
            for stream in (Stream.HEADER, Stream.BULK)
        )
        return Admitted(
            admission=token,
            object_id=admission.object_id,
            key_id=admission.key_id,
            epoch=admission.epoch,
            hospital=core.hospital,
            header_key=header,
            bulk_key=bulk,
            algorithm=int(Algorithm.AES_256_GCM),
        )

    # --- commit -----------------------------------------------------------------------------------------

    async def commit(self, request: Commit) -> Committed:
        """Row and leaf for a sealed file. Raises GuardRefused('invalid') for what was not admitted."""
        admission = self._admissions.pop(request.admission, None)
        if admission is None:
            raise GuardRefused("invalid")
        if not _safe_location(request.location, admission.object_id):
            raise GuardRefused("invalid")

        def write(tx: Transaction) -> Committed:
            self._core.disk.check_may_keep()
            return self._write(tx, admission, request)

        return await self._core.committer.run(write)

    def _write(self, tx: Transaction, admission: _Admission, request: Commit) -> Committed:
        core, asked = self._core, admission.request
        if not admission.parked:
            held = self._held_hash(tx.connection, asked.attributes.sop_instance_uid)
            if held == asked.data_set_sha256:
                self._note_sent_again(admission.actor, asked.attributes.sop_instance_uid)
                return Committed(log_index=self._log_index(tx, asked), parked=False, kept=False)
            self._check_late(tx.connection, admission, held)
        index = tx.append(core.entry(self._event(admission, request)))
        row = _object_row(core.clock(), admission, request, index)
        if admission.parked:
            self._park(tx, admission, row)
        else:
            self._index(tx, admission, row)
        return Committed(log_index=index, parked=bool(admission.parked))

    def _check_late(self, connection: sa.Connection, admission: _Admission, held: bytes | None) -> None:
        """Another association was faster with what contradicts this: parked, though sealed under the study's key."""
        owner = _series_owner(connection, admission.request)
        if held is not None:
            admission.parked = "hash_mismatch"
        elif owner is not None and owner != admission.study.pk:
            admission.parked = "series_mismatch"
        if admission.parked:
            study = admission.study
            admission.key_context = catalogue.study_context(self._core, study.patient_id, study.uid)

    def _event(self, admission: _Admission, request: Commit) -> Event:
        asked = admission.request
        if admission.parked:
            return InstanceParked(
                actor=admission.actor.evidence,
                object_id=admission.object_id,
                data_set_sha256=asked.data_set_sha256,
                reason=admission.parked,
                ordinal=0,
            )
        return InstanceStored(
            actor=admission.actor.evidence,
            object_id=admission.object_id,
            data_set_sha256=asked.data_set_sha256,
            study=admission.study.key_id,
            octets=request.file_bytes,
        )

    def _log_index(self, tx: Transaction, asked: Admit) -> int:
        query = sa.select(instance.c.log_index).where(instance.c.uid == asked.attributes.sop_instance_uid)
        return int(tx.connection.execute(query).scalar_one())

    def _park(self, tx: Transaction, admission: _Admission, row: dict[str, object]) -> None:
        context = column_context("parked", "sealed", admission.object_id)
        sealed = seal_column(admission.key, context, msgspec.json.encode(admission.request.attributes))
        values = dict(row, reason=admission.parked, sealed=sealed, key_context=admission.key_context)
        tx.connection.execute(sa.insert(parked), values)

    def _index(self, tx: Transaction, admission: _Admission, row: dict[str, object]) -> None:
        a, study = admission.request.attributes, admission.study
        query = sa.select(series.c.pk, series.c.study_pk).where(series.c.uid == a.series_instance_uid)
        found = tx.connection.execute(query).one_or_none()
        if found is None:
            facts = {
                "series_number": a.series_number,
                "series_description": a.series_description,
                "body_part_examined": a.body_part_examined,
            }
            sealed = seal_column(
                study.patient_key,
                column_context("series", "sealed", a.series_instance_uid),
                msgspec.json.encode(facts),
            )
            values = {
                "uid": a.series_instance_uid,
                "study_pk": study.pk,
                "modality": a.modality,
                "sealed": sealed,
            }
            series_pk = tx.connection.execute(sa.insert(series), values).inserted_primary_key[0]  # type: ignore[index]  # one row
        else:
            series_pk = found.pk
        tx.connection.execute(
            sa.insert(instance),
            dict(
                row,
                uid=a.sop_instance_uid,
                series_pk=series_pk,
                study_pk=study.pk,
                sop_class_uid=a.sop_class_uid,
                instance_number=a.instance_number,
                rows=a.rows,
                columns=a.columns,
                bits_allocated=a.bits_allocated,
                number_of_frames=a.number_of_frames,
            ),
        )

    async def closed(self, actor: Actor, request: IngestClosed) -> IngestNoted:
        """One AuditEvent for each study of an association (PS3.15 A.5.3.7)."""
        core = self._core

        def write(tx: Transaction) -> None:
            for uid, count in request.studies.items():
                held = catalogue.hold(core, tx.connection, uid)
                if held is not None:
                    event = InstancesTransferred(
                        actor=actor.evidence,
                        study=held.key_id,
                        instances=count,
                        failed=request.failed,
                        channel=request.channel,
                        patient=held.patient_id,
                    )
                    tx.append(core.entry(event))

        await core.committer.run(write)
        # C-STORE-RSP has no room for a promise (PS3.7 9.3.1.2).
        return IngestNoted(core.log.promise() if request.channel == "dicomweb" else b"")


def _series_owner(connection: sa.Connection, request: Admit) -> int | None:
    query = sa.select(series.c.study_pk).where(series.c.uid == request.attributes.series_instance_uid)
    return connection.execute(query).scalar()


def _safe_location(location: str, object_id: bytes) -> bool:
    path = Path(location)
    return not path.is_absolute() and ".." not in path.parts and object_id.hex() in path.name


def _object_row(received_at: float, admission: _Admission, request: Commit, index: int) -> dict[str, object]:
    return {
        "object_id": admission.object_id,
        "key_id": admission.key_id,
        "epoch": admission.epoch,
        "algorithm": int(Algorithm.AES_256_GCM),
        "location": request.location,
        "file_bytes": request.file_bytes,
        "header_plain_bytes": request.header_plain_bytes,
        "bulk_plain_bytes": request.bulk_plain_bytes,
        "prefix_bytes": request.prefix_bytes,
        "header_sealed_bytes": request.header_sealed_bytes,
        "bulk_sealed_bytes": request.bulk_sealed_bytes,
        "data_set_sha256": admission.request.data_set_sha256,
        "file_sha256": request.file_sha256,
        "transfer_syntax_uid": admission.request.transfer_syntax_uid,
        "received_at": received_at,
        "source": admission.actor.source,
        "log_index": index,
    }
