"""The restore inside the opened home: suspensions, two persons, what was destroyed, the log's new epoch.

The steps before it, and the rules of all, stand in `guard.restore`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ribcage.database.research import release_link
from ribcage.database.schema import (
    break_glass,
    destruction,
    device,
    filed,
    instance,
    invitation,
    meta,
    name_token,
    parked,
    patient,
    patient_session,
    person,
    rejected,
    rejection,
    series,
    session,
    study,
)
from ribcage.evidence.audit_event import GrantChanged, HomeRestored, OperatorActor, StudyDestroyed
from ribcage.evidence.checkpoint import Checkpoint
from ribcage.evidence.fork import Fork, make_fork
from ribcage.guard.admin import sign_checkpoint
from ribcage.guard.approvals import Approvals
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.durable import write_file
from ribcage.guard.keyring import ID_BYTES
from ribcage.guard.protocol import Approver
from ribcage.guard.restore import Plan
from ribcage.guard.rights import Rights
from ribcage.ledger import calls
from ribcage.ledger.client import Reason
from ribcage.ledger.errors import InvalidCall

FORK_FILE = "fork-statement.txt"
_MARK = "restored-in-epoch"
_NOBODY = bytes(ID_BYTES)


@dataclass
class Restored:
    """What was done. `grants_revoked` only where rights were lost."""

    approved_by: tuple[bytes, bytes] = (_NOBODY, _NOBODY)
    suspended: int = 0
    destroyed: int = 0
    files_removed: int = 0
    grants_revoked: int = 0


class Restoration:
    """Works on a home opened with `restoring=True`. Each method may be repeated after a crash."""

    def __init__(self, core: Core, operator: OperatorActor) -> None:
        self._core = core
        self._operator = operator
        self.report = Restored()

    async def suspend_again(self) -> None:
        """Persons and devices that the ledger of today suspends are suspended in their rows, too."""
        core = self._core
        kinds = ((person, "person", core.people), (device, "device", core.devices))

        def write(tx: Transaction) -> list[tuple[Any, bytes]]:
            fallen = []
            for table, kind, room in kinds:
                for row in list(core.rows.all(tx.connection, table)):
                    if not row["suspended"] and self._suspended(kind, bytes(row["id"])):
                        core.rows.update(tx.connection, table, dict(core.rows.check(table, row), suspended=1))
                        fallen.append((room, bytes(row["id"])))
            return fallen

        fallen = await core.committer.run(write)
        with core.engine.connect() as connection:
            for room, identifier in fallen:
                room.refresh(connection, identifier)
        self.report.suspended = len(fallen)

    def _suspended(self, kind: str, identifier: bytes) -> bool:
        core = self._core
        subject = core.subject(kind, identifier)
        verdict = core.ledger.check(subject, [], calls.Purpose.TREAT, core.clock())
        return verdict.reason is Reason.SUSPENDED

    async def approve(self, first: Approver, second: Approver) -> None:
        """Two different persons, each with password and code. Raises GuardRefused."""
        approvals = Approvals(self._core)
        one = await approvals.verify(first)
        two = await approvals.verify(second, not_also=one.person)
        self.report.approved_by = (one.person, two.person)

    def _end_permits(self, tx: Transaction) -> None:
        """One that was ended after the backup must not live again: none does."""
        core, now = self._core, self._core.clock()
        for row in list(core.rows.all(tx.connection, break_glass)):
            if not row["ended_at"] and row["valid_until"] > now:
                core.rows.update(
                    tx.connection, break_glass, dict(core.rows.check(break_glass, row), ended_at=now)
                )

    async def apply(self, plan: Plan, reason: str) -> None:
        """Sessions, destroyed studies and the entry, in one commit; then files, grants and the first checkpoint."""
        core = self._core
        mark = {"name": _MARK, "value": str(plan.log_epoch)}

        def write(tx: Transaction) -> None:
            if (
                tx.connection.execute(sa.select(meta.c.value).where(meta.c.name == _MARK)).scalar()
                == mark["value"]
            ):
                return
            for table in (session, patient_session, invitation):  # one that was used would be good again
                tx.connection.execute(sa.delete(table))
            self._end_permits(tx)
            lost = self.lost_studies(tx.connection)
            event = HomeRestored(
                actor=self._operator,
                approved_by=self.report.approved_by,
                reason=reason,
                manifest=bytes.fromhex(plan.manifest),
                log_epoch=plan.log_epoch,
                restored_size=plan.restored.size,
                known_size=plan.known.size,
                known_root=plan.known.root,
                replayed=plan.replayed,
                destroyed=len(lost),
                rights_lost=plan.rights_lost,
            )
            tx.append(core.entry(event))
            self.report.destroyed = len(lost)
            self.remove(tx, lost)
            tx.connection.execute(sa.insert(meta).prefix_with("OR REPLACE"), mark)

        await core.committer.run(write)
        self.report.files_removed = self._remove_strays()
        if plan.rights_lost:
            await self._revoke_everything()
        await sign_checkpoint(core)
        core.second.lives()

    def fork_statement(self, plan: Plan, reason: str, home: Path) -> Path:
        """What a witness's administrator needs to go on with this log (docs/formats.md 5.8)."""
        core = self._core
        begins = min(plan.old, plan.restored, key=lambda head: head.size)  # never beyond what the witness saw
        fork = Fork(
            old=plan.old,
            restored=Checkpoint(plan.old.origin, begins.size, begins.root),
            new_key=core.log.signer.key,
            reason=reason,
            approved_by=self.report.approved_by,
            time_ms=int(core.clock() * 1000),
        )
        write_file(home / FORK_FILE, make_fork(fork, core.log.signer))
        return home / FORK_FILE

    # --- what was destroyed -----------------------------------------------------------------------------

    def lost_studies(self, connection: sa.Connection) -> list[dict[str, Any]]:
        """Rows of studies whose key is in no wrap: destroyed, or unknown to this key store."""
        rows = connection.execute(sa.select(study).order_by(study.c.pk)).mappings()
        return [dict(row) for row in rows if not self._core.second.holds(bytes(row["key_id"]))]

    async def forget_lost(self) -> int:
        """Their rows go, as in a restore; how many studies. For a rehearsal."""
        core = self._core

        def write(tx: Transaction) -> int:
            lost = self.lost_studies(tx.connection)
            self.remove(tx, lost)
            return len(lost)

        return await core.committer.run(write)

    def remove(self, tx: Transaction, lost: Sequence[dict[str, Any]]) -> None:
        """Rows of these studies, and of conflicts and patients without a key, with an entry for each study."""
        holds = self._core.second.holds
        for row in lost:
            self._remove_study(tx, row)
        for late in tx.connection.execute(sa.select(parked)).mappings().all():
            if not holds(bytes(late["key_id"])):
                tx.connection.execute(sa.delete(parked).where(parked.c.pk == late["pk"]))
                self._entry(tx, bytes(late["key_id"]), None, 0, (int(late["log_index"]),))
        for whose in tx.connection.execute(sa.select(patient)).mappings().all():
            if not holds(bytes(whose["key_id"])):
                tx.connection.execute(sa.delete(patient).where(patient.c.id == whose["id"]))

    def _remove_study(self, tx: Transaction, row: dict[str, Any]) -> None:
        connection, key_id = tx.connection, bytes(row["key_id"])
        late = connection.execute(sa.select(parked.c.log_index).where(parked.c.key_id == key_id)).all()
        count = sa.select(sa.func.count()).where(instance.c.study_pk == row["pk"])
        held = int(connection.execute(count).scalar_one())
        connection.execute(sa.delete(parked).where(parked.c.key_id == key_id))
        for table in (filed, rejected, rejection, release_link):
            connection.execute(sa.delete(table).where(table.c.study_key_id == key_id))
        for table in (instance, series, name_token):
            connection.execute(sa.delete(table).where(table.c.study_pk == row["pk"]))
        connection.execute(sa.delete(study).where(study.c.pk == row["pk"]))
        entries = tuple(int(index) for (index,) in late)
        index = self._entry(tx, key_id, bytes(row["patient_id"]), held, entries)
        if self._core.keyring.is_destroyed(key_id):
            self._stays_destroyed(tx, row, index)

    def _entry(
        self, tx: Transaction, key: bytes, whose: bytes | None, held: int, entries: tuple[int, ...]
    ) -> int:
        """Epoch 0 in the entry: this key store never knew the key."""
        ring = self._core.keyring
        epoch = ring.end_of(key).epoch if ring.is_destroyed(key) else 0
        event = StudyDestroyed(self._operator, key, whose, held, epoch, parked_entries=entries)
        return self._core.append(tx, event)

    def _stays_destroyed(self, tx: Transaction, row: dict[str, Any], index: int) -> None:
        """The register knows it as done, so that the same Study UID is parked and not taken for a new one."""
        core, key_id, now = self._core, bytes(row["key_id"]), self._core.clock()
        done = {"state": "done", "study_uid": "", "ended_at": now, "log_index": index}
        query = sa.select(destruction).where(
            destruction.c.study_key_id == key_id, destruction.c.state != "cancelled"
        )
        held = tx.connection.execute(query).mappings().first()
        if held is not None:
            core.closed.take(core.rows.update(tx.connection, destruction, dict(held, **done)))
            return
        last = tx.connection.execute(sa.select(sa.func.max(destruction.c.number))).scalar()
        known: dict[str, Any] = {
            "id": os.urandom(ID_BYTES),
            "number": int(last or 0) + 1,
            "reason": "restored-backup",
            "study_token": core.blind.exact("study", str(row["uid"])),
            "study_key_id": key_id,
            "patient_id": row["patient_id"],
            "resource": bytes(32),
            "asked_by": _NOBODY,
            "asked_at": now,
            "approved_by": None,
            "approved_at": 0.0,
            "due_at": 0.0,
            "ended_by": None,
            "certificate": None,
            **done,
        }
        core.rows.insert(tx.connection, destruction, known)

    def _remove_strays(self) -> int:
        """Files that no row names: what was destroyed. Nothing else was ever written here."""
        root, removed = Path(self._core.objects_root), 0
        with self._core.engine.connect() as connection:
            named = {
                str(location)
                for table in (instance, parked)
                for (location,) in connection.execute(sa.select(table.c.location))
            }
        for path in root.glob("*/*"):
            if f"{path.parent.name}/{path.name}" not in named:
                path.unlink()
                removed += 1
        return removed

    # --- rights -----------------------------------------------------------------------------------------

    async def _revoke_everything(self) -> None:
        """Every standing grant ends: nobody knows which of them were revoked."""
        core, rights, number = self._core, Rights(self._core, lambda: None), 0
        while True:
            number += 1
            try:
                terms = core.ledger.grant(number)
            except InvalidCall:
                return
            if not terms.revoked and terms.valid_until > core.clock():
                await rights.change(
                    calls.revoke_grant(number),
                    lambda prepared, grant=number: GrantChanged(  # type: ignore[misc]  # the loop's number is bound now
                        self._operator, grant, "revoked", prepared.transaction
                    ),
                    lambda _tx, _prepared: None,
                )
                self.report.grants_revoked += 1
