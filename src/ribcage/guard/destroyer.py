"""The destruction of what is due (NIST SP 800-88r2, cryptographic erase).

Rules, in order:
1. Due studies go together: state `executing` durable, keys destroyed by a new epoch, files unlinked, and then for
   each study tombstone, rows, certificate and entry in one commit. A crash in between is finished by the next run.
2. Afterwards each key is asked for, and its refusal is what the certificate states.
3. While the ledger lacks a change, or the clock was stepped, nothing is destroyed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.care_tables import care_relation
from ribcage.database.research import release_link
from ribcage.database.schema import (
    destruction,
    filed,
    grant_note,
    instance,
    invitation,
    name_token,
    parked,
    patient,
    patient_passkey,
    patient_session,
    rejected,
    rejection,
    series,
    study,
    study_identity,
)
from ribcage.evidence.audit_event import Actor as Evidence
from ribcage.evidence.audit_event import StudyDestroyed, SystemActor
from ribcage.evidence.certificate import (
    DestroyedObject,
    Destruction,
    certificate_hash,
    make_certificate,
)
from ribcage.guard import _jobs, erasure
from ribcage.guard import protocol as p
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.destruction import Destructions, Row
from ribcage.guard.errors import GuardRefused
from ribcage.guard.keyring import EpochDestroyed
from ribcage.guard.rights import Rights
from ribcage.ledger import calls
from ribcage.ledger.client import Prepared

_SYSTEM = SystemActor("guard")


class Destroyer:
    """Executes what `Destructions` closed and time made due."""

    def __init__(
        self, core: Core, rights: Rights, register: Destructions, closed: Callable[[bytes], None]
    ) -> None:
        self._core = core
        self._rights = rights
        self._register = register
        self._closed = closed
        self._one_at_a_time = asyncio.Lock()
        self._next_batch = 0.0

    async def tick(self) -> None:
        """Called by the server's ticker: once at the start, then once a day."""
        core = self._core
        if core.clock() >= self._next_batch:
            self._next_batch = core.clock() + core.limits.destruction_batch_seconds
            await self._run(_SYSTEM)

    async def run(self, actor: Actor, _: p.RunDestructions) -> p.DestructionItems:
        """Execute what is due; what was done. Raises GuardRefused('unavailable')."""
        return p.DestructionItems(items=[self._register.item(row) for row in await self._run(actor.evidence)])

    async def _run(self, by: Evidence) -> list[Row]:
        core = self._core
        async with self._one_at_a_time:
            due = self._due()
            if not due:
                return []
            if core.ledger_behind:
                raise GuardRefused("unavailable")
            core.clock_watch.check()
            begun = [
                row
                if row["state"] == "executing"
                else await self._register.move(
                    by, row["number"], ("approved",), {"state": "executing"}, "executing"
                )
                for row in due
            ]
            doomed = self._doomed(begun)
            await asyncio.to_thread(self._destroy_keys, frozenset(doomed))
            done = [await self._finish(by, row, doomed) for row in begun]
            await asyncio.to_thread(self._forget_pages)
            return done

    def _due(self) -> list[Row]:
        core = self._core
        with core.engine.connect() as connection:
            query = (
                sa.select(destruction)
                .where(
                    sa.or_(
                        destruction.c.state == "executing",
                        sa.and_(destruction.c.state == "approved", destruction.c.due_at <= core.clock()),
                    )
                )
                .order_by(destruction.c.number)
            )
            return [core.rows.check(destruction, row) for row in connection.execute(query).mappings()]

    def _doomed(self, rows: Sequence[Row]) -> set[bytes]:
        """Key ids: the studies', and those of patients who have no other study."""
        keys = {bytes(row["study_key_id"]) for row in rows}
        patients = {bytes(row["patient_id"]) for row in rows}
        with self._core.engine.connect() as connection:
            left = sa.select(study.c.patient_id).where(
                study.c.patient_id.in_(patients), study.c.key_id.not_in(keys)
            )
            others = {bytes(found) for (found,) in connection.execute(left)}
            query = sa.select(patient.c.key_id).where(patient.c.id.in_(patients - others))
            keys.update(bytes(found) for (found,) in connection.execute(query))
        return keys

    def _destroy_keys(self, doomed: frozenset[bytes]) -> None:
        erasure.destroy_keys(self._core.keyring, doomed)

    async def _finish(self, by: Evidence, row: Row, doomed: set[bytes]) -> Row:
        """Files, then tombstone, rows, certificate and entry in one commit (rule 4)."""
        core, key_id = self._core, bytes(row["study_key_id"])
        with core.engine.connect() as connection:
            objects, late = (self._objects(connection, table, key_id) for table in (instance, parked))
            patient_key = connection.execute(
                sa.select(patient.c.key_id).where(patient.c.id == row["patient_id"])
            ).scalar()
        await asyncio.to_thread(self._unlink, [str(each["location"]) for each in [*objects, *late]])
        patient_too = patient_key is not None and bytes(patient_key) in doomed
        note = make_certificate(
            self._statement(row, objects, len(late), patient_too, core.keyring.end_of(key_id)),
            core.log.signer,
        )
        entries = tuple(int(each["log_index"]) for each in late)
        moved: list[Row] = []

        def event(prepared: Prepared) -> StudyDestroyed:
            return StudyDestroyed(
                actor=by,
                study=key_id,
                patient=bytes(row["patient_id"]),
                instances=len(objects),
                epoch=core.keyring.end_of(key_id).epoch,
                certificate=certificate_hash(note),
                transaction=prepared.transaction,
                parked_entries=entries,
            )

        def remove(tx: Transaction, _: Prepared) -> None:
            self._remove_rows(tx.connection, row, patient_too)
            done = {
                "state": "done",
                "study_uid": "",
                "ended_at": core.clock(),
                "certificate": note,
                "log_index": tx.drafts[-1].number,
            }
            moved.append(core.rows.update(tx.connection, destruction, dict(row, **done)))

        await self._rights.change(calls.tombstone(row["resource"], certificate_hash(note)), event, remove)
        core.closed.take(moved[0])
        core.identities.forget(key_id)
        self._closed(key_id)
        return moved[0]

    @staticmethod
    def _objects(connection: sa.Connection, table: sa.Table, key_id: bytes) -> list[sa.RowMapping]:
        return list(connection.execute(sa.select(table).where(table.c.key_id == key_id)).mappings())

    def _statement(
        self, row: Row, objects: Sequence[sa.RowMapping], late: int, patient_too: bool, end: EpochDestroyed
    ) -> Destruction:
        core = self._core
        return Destruction(
            number=int(row["number"]),
            hospital=core.hospital,
            hospital_name=core.hospital_name,
            reason=str(row["reason"]),
            asked_ms=int(row["asked_at"] * 1000),
            asked_by=bytes(row["asked_by"]),
            approved_ms=int(row["approved_at"] * 1000),
            approved_by=bytes(row["approved_by"]),
            done_ms=int(core.clock() * 1000),
            study=bytes(row["study_key_id"]),
            objects=tuple(
                DestroyedObject(bytes(each["object_id"]), bytes(each["data_set_sha256"])) for each in objects
            ),
            parked=late,
            patient_key_too=patient_too,
            epoch=end.epoch,
            new_epoch=end.new_epoch,
            survivors=end.survivors,
            provider=end.evidence.provider,
            slot=end.evidence.slot,
            provider_statement=end.evidence.method,
        )

    def _unlink(self, locations: Sequence[str]) -> None:
        erasure.unlink(Path(self._core.objects_root), locations)

    def _remove_rows(self, connection: sa.Connection, row: Row, patient_too: bool) -> None:
        key_id, uid = row["study_key_id"], str(row["study_uid"])
        connection.execute(sa.delete(parked).where(parked.c.key_id == key_id))
        for table in (filed, rejected, rejection, release_link):
            connection.execute(sa.delete(table).where(table.c.study_key_id == key_id))
        _jobs.forget_study(connection, uid)
        pk = connection.execute(sa.select(study.c.pk).where(study.c.key_id == key_id)).scalar()
        if pk is not None:
            for table in (instance, series, name_token):
                connection.execute(sa.delete(table).where(table.c.study_pk == pk))
            connection.execute(sa.delete(study_identity).where(study_identity.c.id == key_id))
            connection.execute(sa.delete(study).where(study.c.pk == pk))
        if patient_too:
            for table in (invitation, patient_session, patient_passkey, care_relation):
                connection.execute(sa.delete(table).where(table.c.patient_id == row["patient_id"]))
            connection.execute(sa.delete(patient).where(patient.c.id == row["patient_id"]))
        log_key = self._core.keyring.service("log")
        for note in connection.execute(sa.select(grant_note)).mappings().all():
            context = column_context("grant_note", "sealed", int(note["grant_id"]))
            with contextlib.suppress(CryptoError):
                if f'"study:{uid}"'.encode() in open_column(log_key, context, bytes(note["sealed"])):
                    connection.execute(sa.delete(grant_note).where(grant_note.c.grant_id == note["grant_id"]))

    def _forget_pages(self) -> None:
        """Cut the database's write-ahead log, so that it keeps no removed row."""
        with self._core.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
