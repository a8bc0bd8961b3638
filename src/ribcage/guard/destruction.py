"""Destroying a study: two persons, time for second thoughts, then its key (NIST SP 800-88r2, cryptographic erase).

Rules, in order:
1. One person asks, another approves; who is the second is never the first (`guard.approvals`).
2. From the approval on the study is closed: neither disclosed nor listed nor added to. Live disclosures are cut.
3. Until it is due, anyone who may approve may cancel; the study is then as it was.
4. What is due is destroyed by `guard.destroyer`.
5. A destroyed Study UID does not come back by itself: what is stored under it later is parked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ribcage.database.schema import (
    destruction,
    instance,
)
from ribcage.evidence.audit_event import Actor as Evidence
from ribcage.evidence.audit_event import DestructionChanged, SystemActor
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused

_DAY_SECONDS = 86400.0
_OPEN = ("asked", "approved", "executing")
_SYSTEM = SystemActor("guard")
Row = dict[str, Any]


class Destructions:
    """Asks, approvals, cancellations, and the work itself."""

    def __init__(self, core: Core, approvals: Approvals, closed: Callable[[bytes], None]) -> None:
        """`closed(key_id)` is called when a study was closed: nobody keeps its key or its stream."""
        self._core = core
        self._approvals = approvals
        self._closed = closed

    # --- asking -----------------------------------------------------------------------------------------

    async def ask(self, _: Actor, request: p.AskDestruction) -> p.DestructionItem:
        """The first person. Raises GuardRefused('not_found' | 'conflict' and what `Approvals` raises)."""
        core, by = self._core, await self._approvals.verify(request.by)

        def write(tx: Transaction) -> Row:
            held = catalogue.hold(core, tx.connection, request.study_instance_uid)
            if held is None:
                raise GuardRefused("not_found")
            query = sa.select(destruction.c.number).where(
                destruction.c.study_key_id == held.key_id, destruction.c.state.in_(_OPEN)
            )
            if tx.connection.execute(query).first() is not None:
                raise GuardRefused("conflict")
            last = tx.connection.execute(sa.select(sa.func.max(destruction.c.number))).scalar()
            row: Row = {
                "id": os.urandom(16),
                "number": int(last or 0) + 1,
                "state": "asked",
                "reason": request.reason,
                "study_uid": held.uid,
                "study_token": core.blind.exact("study", held.uid),
                "study_key_id": held.key_id,
                "patient_id": held.patient_id,
                "resource": core.study_resource(held.patient_key, held.uid),
                "asked_by": by.person,
                "asked_at": core.clock(),
                "approved_by": None,
                "approved_at": 0.0,
                "due_at": 0.0,
                "ended_by": None,
                "ended_at": 0.0,
                "certificate": None,
                "log_index": -1,
            }
            core.rows.insert(tx.connection, destruction, row)
            core.append(tx, _changed(by, row, "asked"))
            return row

        return self.item(await core.committer.run(write))

    async def approve(self, _: Actor, request: p.ApproveDestruction) -> p.DestructionItem:
        """The second person: closes the study. Raises GuardRefused."""
        core = self._core
        asked = self._find(request.number, "asked")
        by = await self._approvals.verify(request.by, not_also=bytes(asked["asked_by"]))
        due = core.clock() + core.limits.destruction_reversible_days * _DAY_SECONDS
        change = {
            "state": "approved",
            "approved_by": by.person,
            "approved_at": core.clock(),
            "due_at": due,
        }
        row = await self.move(by, request.number, ("asked",), change, "approved")
        self._closed(bytes(row["study_key_id"]))
        return self.item(row)

    async def cancel(self, _: Actor, request: p.CancelDestruction) -> p.DestructionItem:
        """Take it back while it is not executing. Raises GuardRefused."""
        by = await self._approvals.verify(request.by)
        change = {"state": "cancelled", "ended_by": by.person, "ended_at": self._core.clock()}
        return self.item(await self.move(by, request.number, ("asked", "approved"), change, "cancelled"))

    async def move(self, by: Evidence, number: int, states: tuple[str, ...], change: Row, word: str) -> Row:
        """One change of state and its entry, durable together; then the guard's memory follows."""
        core = self._core

        def write(tx: Transaction) -> Row:
            row = self.checked(tx.connection, number)
            if row["state"] not in states:
                raise GuardRefused("conflict")
            moved = core.rows.update(tx.connection, destruction, dict(row, **change))
            core.append(tx, _changed(by, moved, word))
            return moved

        moved = await core.committer.run(write)
        core.closed.take(moved)
        return moved

    # --- reading ----------------------------------------------------------------------------------------

    def page(self, request: p.DestructionPage) -> p.DestructionItems:
        """Destructions in order."""
        with self._core.engine.connect() as connection:
            query = (
                sa.select(destruction)
                .where(destruction.c.number >= request.start)
                .order_by(destruction.c.number)
                .limit(min(max(request.count, 0), 1000))
            )
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return p.DestructionItems(items=[self.item(row) for row in rows])

    def certificate(self, request: p.GetCertificate) -> p.Certificate:
        """The certificate of one that is done. Raises GuardRefused('not_found')."""
        row = self._find(request.number, "done")
        return p.Certificate(
            note=bytes(row["certificate"]),
            log_index=int(row["log_index"]),
            verifier_key=self._core.log.epochs.verifier_key(int(row["log_index"]) + 1),
        )

    def item(self, row: Row) -> p.DestructionItem:
        """As an operator sees it."""
        with self._core.engine.connect() as connection:
            query = sa.select(sa.func.count()).where(instance.c.key_id == row["study_key_id"])
            held = int(connection.execute(query).scalar_one())
        return p.DestructionItem(
            number=int(row["number"]),
            state=row["state"],
            reason=str(row["reason"]),
            instances=held,
            asked_at=float(row["asked_at"]),
            due_at=float(row["due_at"]),
            ended_at=float(row["ended_at"]),
        )

    def _find(self, number: int, state: str) -> Row:
        with self._core.engine.connect() as connection:
            row = self.checked(connection, number)
        if row["state"] != state:
            raise GuardRefused("conflict" if state == "asked" else "not_found")
        return row

    def checked(self, connection: sa.Connection, number: int) -> Row:
        """A destruction's row. Raises GuardRefused('not_found'), RowTampered."""
        query = sa.select(destruction).where(destruction.c.number == number)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_found")
        return self._core.rows.check(destruction, row)


def _changed(by: Evidence, row: Row, change: Any) -> DestructionChanged:
    return DestructionChanged(
        actor=by,
        study=bytes(row["study_key_id"]),
        patient=bytes(row["patient_id"]),
        number=int(row["number"]),
        change=change,
        reason=str(row["reason"]),
        due_ms=int(float(row["due_at"]) * 1000),
    )
