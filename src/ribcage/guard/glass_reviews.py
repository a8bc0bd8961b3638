"""After the glass was broken: listed, shown, judged, ended.

Rules, in order:
1. An officer or administrator, never the one who broke the glass, judges it, with password and one-time code; once.
2. What it was about is shown to such a person alone, and that is an entry.
3. An operator may end it at any time; running streams are cut before the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import break_glass, patient, study
from ribcage.evidence import audit_event as events
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused

_MOST_STUDIES = 100
Row = dict[str, Any]


class GlassReviews:
    """Lists, shows, judges and ends."""

    def __init__(self, core: Core, approvals: Approvals, rights_changed: Callable[[], None]) -> None:
        self._core = core
        self._approvals = approvals
        self._rights_changed = rights_changed

    async def end(self, actor: Actor, request: p.EndBreakGlass) -> p.BreakGlassItem:
        """End one now. Raises GuardRefused('not_found' | 'conflict')."""
        now = self._core.clock_watch.trusted()
        row = await self._change(actor.evidence, request.number, {"ended_at": now}, "ended")
        self._rights_changed()
        return self._item(row)

    async def review(self, _: Actor, request: p.ReviewBreakGlass) -> p.BreakGlassItem:
        """Judge one. Raises GuardRefused('not_found' | 'conflict' and what `Approvals` raises)."""
        core = self._core
        with core.engine.connect() as connection:
            row = self._checked(connection, request.number)
        by = await self._approvals.verify(request.by, not_also=bytes(row["person_id"]))
        now = core.clock_watch.trusted()
        change = {"verdict": request.verdict, "reviewed_by": by.person, "reviewed_at": now}
        reviewed = await self._change(by, request.number, change, request.verdict)
        core.alarms.settle(request.number)
        return self._item(reviewed)

    async def _change(self, by: events.Actor, number: int, change: Row, word: Any) -> Row:
        core = self._core

        def write(tx: Transaction) -> Row:
            row = self._checked(tx.connection, number)
            if (word == "ended" and row["ended_at"]) or (word != "ended" and row["verdict"]):
                raise GuardRefused("conflict")
            changed = core.rows.update(tx.connection, break_glass, dict(row, **change))
            tx.append(core.entry(events.BreakGlassChanged(by, bytes(row["id"]), number, word)))
            return changed

        changed = await core.committer.run(write)
        core.permits.take(changed)
        return changed

    def _checked(self, connection: sa.Connection, number: int) -> Row:
        query = sa.select(break_glass).where(break_glass.c.number == number)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_found")
        return self._core.rows.check(break_glass, row)

    def page(self, request: p.BreakGlassPage) -> p.BreakGlassItems:
        """Accesses in order."""
        query = (
            sa.select(break_glass)
            .where(break_glass.c.number >= request.start)
            .order_by(break_glass.c.number)
            .limit(min(max(request.count, 0), 1000))
        )
        with self._core.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return p.BreakGlassItems(items=[self._item(row) for row in rows])

    def _item(self, row: Row) -> p.BreakGlassItem:
        return p.BreakGlassItem(
            number=int(row["number"]),
            username=self._core.people.name_of(bytes(row["person_id"])),
            scope="patient" if row["study_key_id"] is None else "study",
            reason=str(row["reason"]),
            emergency=bool(row["emergency"]),
            occurred_at=float(row["occurred_at"]),
            valid_until=float(row["valid_until"]),
            ended_at=float(row["ended_at"]),
            verdict=row["verdict"],
            reviewed_at=float(row["reviewed_at"]),
        )

    async def alarms(self, _: Actor, _request: p.GetAlarms) -> p.Alarms:
        """The alarms that stand."""
        return p.Alarms(items=self._core.alarms.standing())

    # --- what it was about ------------------------------------------------------------------------------

    async def show(self, _: Actor, request: p.ShowBreakGlass) -> p.BreakGlassShown:
        """Studies and note. Raises GuardRefused('not_found' and what `Approvals` raises)."""
        core = self._core
        with core.engine.connect() as connection:
            row = self._checked(connection, request.number)
        by = await self._approvals.verify(request.by, not_also=bytes(row["person_id"]))
        await core.note(events.BreakGlassChanged(by, bytes(row["id"]), request.number, "shown"))
        with core.engine.connect() as connection:
            query = sa.select(study.c.uid).where(study.c.patient_id == row["patient_id"])
            if row["study_key_id"] is not None:
                query = query.where(study.c.key_id == row["study_key_id"])
            studies = [str(uid) for uid in connection.execute(query.limit(_MOST_STUDIES)).scalars()]
            return p.BreakGlassShown(studies=studies, note=self._note(connection, row))

    def _note(self, connection: sa.Connection, row: Row) -> str:
        core, identifier = self._core, bytes(row["patient_id"])
        query = sa.select(patient).where(patient.c.id == identifier)
        owner = connection.execute(query).mappings().one_or_none()
        if owner is None or row["note"] is None:
            return ""
        try:
            context = catalogue.patient_context(core, identifier)
            key = core.keyring.key(bytes(core.rows.check(patient, owner)["key_id"]), "patient", context)
            place = column_context("break_glass", "note", bytes(row["id"]))
            return open_column(key, place, bytes(row["note"])).decode()
        except CryptoError:
            return ""
