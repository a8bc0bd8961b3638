"""Merge, unmerge, moving and splitting studies, correcting names: two persons, one transaction each (docs/adr/0013).

Rules, in order:
1. One person asks, another approves (`guard.approvals`); a correction of names alone needs one. A merge that the
   hospital's own system tells is done at once, in its certificate's name (`guard.care`), and undone by two persons.
2. What was approved is durable before a key moves, keys move before the rows, and the commit of the rows decides: a
   crash in between is undone at the next start (`settle`).
3. A study that is closed for destruction, or whose destruction was asked for, changes nothing; nor does anything of a
   patient with such a study.
4. An undo takes back the newest change of each study, with what came since under that identity; what later changes
   built on is undone after them.
5. Originals are not rewritten; what leaves in the full view names the patient as corrected.
6. Leases are dropped, and everything that is open is asked again before the answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.database.schema import identity_change
from ribcage.evidence.audit_event import Actor as Evidence
from ribcage.evidence.audit_event import IdentityChanged, PersonActor
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.identities import Named
from ribcage.guard.identity_plans import Asked, Plan, Planner
from ribcage.guard.identity_rows import link_rows, move_rows, settle_keys

_NEEDS_TWO = frozenset({"merge", "move", "split", "undo"})
Row = dict[str, Any]


class IdentityChanges:
    """Asks, approvals, and the work itself."""

    def __init__(
        self, core: Core, approvals: Approvals, changed: Callable[[Collection[HeldStudy]], None]
    ) -> None:
        """`changed(studies)` is called when studies got another identity: nobody keeps what they were."""
        self._core = core
        self._approvals = approvals
        self._planner = Planner(core)
        self._changed = changed
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, _: Actor, request: p.AskIdentityChange) -> p.IdentityChangeItem:
        """The first person; a correction is done at once. Raises GuardRefused."""
        core, by = self._core, await self._approvals.verify(request.by)
        asked = self._planner.understood(request)

        def write(tx: Transaction) -> Row:
            last = tx.connection.execute(sa.select(sa.func.max(identity_change.c.number))).scalar()
            identifier = os.urandom(16)
            row: Row = {
                "id": identifier,
                "number": int(last or 0) + 1,
                "kind": request.kind,
                "state": "asked",
                "undoes": request.undoes,
                "studies": 0,
                "sealed": self._seal(identifier, asked),
                "asked_by": by.person,
                "asked_at": core.clock(),
                "approved_by": None,
                "ended_at": 0.0,
            }
            if request.kind == "undo":
                self._undoable(tx.connection, request.undoes)
            if request.kind == "split":
                self._planner.held(tx.connection, asked)  # the new patient is made when it is approved
            else:
                self._planner.plan(tx.connection, row, asked)  # what cannot be done is refused now
            core.rows.insert(tx.connection, identity_change, row)
            core.append(tx, _event(by, row, "asked", asked.patient or None))
            return row

        if request.kind not in _NEEDS_TWO:
            async with self._one_at_a_time:
                row = await core.committer.run(write)
                return await self._execute(by, int(row["number"]))
        return _item(await core.committer.run(write))

    async def merge_as_told(self, by: Actor, merged: bytes, into: bytes, named: Named) -> None:
        """Merge two patients by id because the hospital's system says so; `named`: as it names the one that stays.

        Raises GuardRefused('conflict' | 'unavailable').
        """
        core, asked = self._core, Asked(patient=merged, into_id=into, named=named)

        def write(tx: Transaction) -> Row:
            identifier = os.urandom(16)
            last = tx.connection.execute(sa.select(sa.func.max(identity_change.c.number))).scalar()
            row: Row = {
                "id": identifier,
                "number": int(last or 0) + 1,
                "kind": "merge",
                "state": "asked",
                "undoes": 0,
                "studies": 0,
                "sealed": self._seal(identifier, asked),
                "asked_by": by.identifier,
                "asked_at": core.clock(),
                "approved_by": None,
                "ended_at": 0.0,
            }
            self._planner.plan(tx.connection, row, asked)
            core.rows.insert(tx.connection, identity_change, row)
            return row

        async with self._one_at_a_time:
            row = await core.committer.run(write)
            await self._execute(by.evidence, int(row["number"]))

    async def approve(self, _: Actor, request: p.ApproveIdentityChange) -> p.IdentityChangeItem:
        """The second person: it is done when answered. Raises GuardRefused."""
        with self._core.engine.connect() as connection:
            row = self._row(connection, request.number, "asked")
        by = await self._approvals.verify(request.by, not_also=bytes(row["asked_by"]))
        async with self._one_at_a_time:
            return await self._execute(by, request.number)

    async def cancel(self, _: Actor, request: p.CancelIdentityChange) -> p.IdentityChangeItem:
        """Take back what nobody approved. Raises GuardRefused."""
        core, by = self._core, await self._approvals.verify(request.by)

        def write(tx: Transaction) -> Row:
            row = self._row(tx.connection, request.number, "asked")
            ended = {"state": "cancelled", "sealed": b"", "ended_at": core.clock()}
            core.append(tx, _event(by, row, "cancelled", None))
            return core.rows.update(tx.connection, identity_change, dict(row, **ended))

        async with self._one_at_a_time:
            return _item(await core.committer.run(write))

    def page(self, request: p.IdentityChangePage) -> p.IdentityChangeItems:
        """Changes in order."""
        table = identity_change
        query = sa.select(table).where(table.c.number >= request.start).order_by(table.c.number)
        with self._core.engine.connect() as connection:
            rows = connection.execute(query.limit(min(max(request.count, 0), 1000))).mappings().all()
        return p.IdentityChangeItems(items=[_item(dict(row)) for row in rows])

    # --- what was asked ---------------------------------------------------------------------------------

    def _seal(self, identifier: bytes, asked: Asked) -> bytes:
        context = column_context("identity_change", "sealed", identifier)
        return seal_column(self._core.keyring.service("log"), context, msgspec.msgpack.encode(asked))

    def _row(self, connection: sa.Connection, number: int, state: str) -> Row:
        query = sa.select(identity_change).where(identity_change.c.number == number)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_found")
        if row["state"] != state:
            raise GuardRefused("conflict")
        return self._core.rows.check(identity_change, row)

    def _undoable(self, connection: sa.Connection, number: int) -> Row:
        row = self._row(connection, number, "done")
        if row["kind"] == "undo":
            raise GuardRefused("conflict")  # ask for the change again
        return row

    # --- the work ---------------------------------------------------------------------------------------

    async def _execute(self, by: Evidence, number: int) -> p.IdentityChangeItem:
        """Rule 2. Raises GuardRefused, GuardUnavailable; then nothing has changed."""
        core = self._core

        def intend(tx: Transaction) -> tuple[Row, Asked, Plan]:
            row = self._row(tx.connection, number, "asked")
            asked = _opened(core, row)
            plan = self._planner.plan(tx.connection, row, asked)
            asked.moves = [
                (held.key_id, held.uid, held.patient_id, whose.patient_id)
                for held, whose, _ in plan.studies
                if held.patient_id != whose.patient_id
            ]
            change = {"state": "executing", "sealed": self._seal(bytes(row["id"]), asked)}
            return core.rows.update(tx.connection, identity_change, dict(row, **change)), asked, plan

        row, asked, plan = await core.committer.run(intend)
        core.identities.on_their_way(plan.key_ids)
        try:
            done = await core.committer.run(lambda tx: self._write(tx, by, row, asked, plan))
        except BaseException:
            await core.committer.run(lambda tx: self._take_back(tx, number))
            raise
        finally:
            core.identities.reload(core.engine)
            core.identities.on_their_way(())
        self._changed([held for held, _, _ in plan.studies])
        return _item(done)

    def _write(self, tx: Transaction, by: Evidence, row: Row, asked: Asked, plan: Plan) -> Row:
        core, undo, now = self._core, row["kind"] == "undo", self._core.clock()
        core.keyring.rebind_all(
            "study", [(key, catalogue.study_context(core, new, uid)) for key, uid, _, new in asked.moves]
        )
        for held, whose, layers in plan.studies:
            move_rows(core, tx.connection, held, whose, layers)
        if plan.link is not None:
            link_rows(core, tx.connection, plan.link)
        for patient_id in sorted(plan.patients):
            keys = tuple(
                held.key_id
                for held, whose, _ in plan.studies
                if patient_id in (held.patient_id, whose.patient_id)
            )
            core.append(tx, _event(by, row, "undone" if undo else "done", patient_id, keys))
        if undo:
            undone = self._undoable(tx.connection, int(row["undoes"]))
            core.rows.update(tx.connection, identity_change, dict(undone, state="undone"))
        ended = {
            "state": "done",
            "sealed": b"",
            "studies": len(plan.studies),
            "approved_by": by.person if row["kind"] in _NEEDS_TWO and isinstance(by, PersonActor) else None,
            "ended_at": now,
        }
        return core.rows.update(tx.connection, identity_change, dict(row, **ended))

    def _take_back(self, tx: Transaction, number: int) -> None:
        settle(self._core, tx.connection, self._row(tx.connection, number, "executing"))


def settle(core: Core, connection: sa.Connection, row: Row) -> None:
    """A change whose rows were never committed did not happen: its keys go back to whom the rows name (rule 2)."""
    settle_keys(core, connection, [each[:2] for each in _opened(core, row).moves])
    core.rows.update(connection, identity_change, dict(row, state="asked"))


def settle_all(core: Core) -> None:
    """At the start: every change that a crash cut off. Blocking."""
    with core.engine.begin() as connection:
        query = sa.select(identity_change).where(identity_change.c.state == "executing")
        for row in connection.execute(query).mappings().all():
            settle(core, connection, core.rows.check(identity_change, row))


def _opened(core: Core, row: Row) -> Asked:
    """What was asked."""
    context = column_context("identity_change", "sealed", bytes(row["id"]))
    plain = open_column(core.keyring.service("log"), context, bytes(row["sealed"]))
    return msgspec.msgpack.decode(plain, type=Asked)


def _event(
    by: Evidence, row: Row, change: Any, patient_id: bytes | None, studies: tuple[bytes, ...] = ()
) -> IdentityChanged:
    return IdentityChanged(
        actor=by,
        number=int(row["number"]),
        sort=str(row["kind"]),
        change=change,
        patient=patient_id,
        studies=studies,
        undoes=int(row["undoes"]),
    )


def _item(row: Row) -> p.IdentityChangeItem:
    return p.IdentityChangeItem(
        number=int(row["number"]),
        kind=row["kind"],
        state=row["state"],
        undoes=int(row["undoes"]),
        studies=int(row["studies"]),
        asked_at=float(row["asked_at"]),
        ended_at=float(row["ended_at"]),
    )
