"""After the glass was broken: listed, shown, judged, ended.

Rules, in order:
1. An officer or administrator, never the one who broke the glass, judges it, with password and one-time code or in
   a session whose second factor is fresh; once.
2. What it was about is shown to such a person alone, and that is an entry.
3. An operator may end it at any time; running streams are cut before the answer.
4. The patient hears the verdict, beside the access, and not whose it is. Note and comment are sealed under the
   patient's key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import break_glass, glass_comment, study
from ribcage.evidence import audit_event as events
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.break_glass import fits
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused

_MOST_STUDIES = 100
Row = dict[str, Any]


class GlassReviews:
    """Lists, shows, judges and ends."""

    def __init__(
        self,
        core: Core,
        approvals: Approvals,
        rights_changed: Callable[[], None],
        tell: Callable[[bytes, int], None],
    ) -> None:
        self._core = core
        self._approvals = approvals
        self._rights_changed = rights_changed
        self._tell = tell  # a patient's open pages: the number of the verdict's entry

    async def end(self, actor: Actor, request: p.EndBreakGlass) -> p.BreakGlassItem:
        """End one now. Raises GuardRefused('not_found' | 'conflict')."""
        now = self._core.clock_watch.trusted()
        row, _ = await self._change(actor.evidence, request.number, {"ended_at": now}, "ended")
        self._rights_changed()
        return self._item(row)

    async def review(self, actor: Actor, request: p.ReviewBreakGlass) -> p.BreakGlassItem:
        """Judge one. Raises GuardRefused('not_found' | 'conflict' | 'invalid' and what `Approvals` raises)."""
        core = self._core
        if not fits(request.comment):
            raise GuardRefused("invalid")
        with core.engine.connect() as connection:
            row = self._checked(connection, request.number)
        by = await self._approvals.who(actor, request.by, not_also=bytes(row["person_id"]))
        now = core.clock_watch.trusted()
        change = {"verdict": request.verdict, "reviewed_by": by.person, "reviewed_at": now}
        comment = self._sealed(row, request.comment)
        reviewed, entry = await self._change(by, request.number, change, request.verdict, comment)
        core.alarms.settle(request.number)
        self._tell(bytes(row["patient_id"]), entry)
        return self._item(reviewed)

    async def _change(
        self, by: events.Actor, number: int, change: Row, word: Any, comment: bytes = b""
    ) -> tuple[Row, int]:
        core = self._core

        def write(tx: Transaction) -> tuple[Row, int]:
            row = self._checked(tx.connection, number)
            if (word == "ended" and row["ended_at"]) or (word != "ended" and row["verdict"]):
                raise GuardRefused("conflict")
            changed = core.rows.update(tx.connection, break_glass, dict(row, **change))
            if comment:
                kept = {"break_glass_id": bytes(row["id"]), "sealed": comment}
                tx.connection.execute(sa.insert(glass_comment), kept)
            event = events.BreakGlassChanged(by, bytes(row["id"]), number, word, comment)
            return changed, tx.append(core.entry(event))

        changed, entry = await core.committer.run(write)
        core.permits.take(changed)
        return changed, entry

    def _checked(self, connection: sa.Connection, number: int) -> Row:
        query = sa.select(break_glass).where(break_glass.c.number == number)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_found")
        return self._core.rows.check(break_glass, row)

    def page(self, request: p.BreakGlassPage) -> p.BreakGlassItems:
        """Accesses in order; with `newest` those without a verdict first, then from the newest."""
        order = (break_glass.c.verdict != "", break_glass.c.number.desc())
        query = (
            sa.select(break_glass)
            .where(break_glass.c.number >= request.start)
            .order_by(*(order if request.newest else (break_glass.c.number,)))
            .limit(min(max(request.count, 0), 1000))
        )
        with self._core.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return p.BreakGlassItems(items=[self._item(row) for row in rows])

    def _item(self, row: Row) -> p.BreakGlassItem:
        core = self._core
        person = core.people.get(bytes(row["person_id"]))
        return p.BreakGlassItem(
            number=int(row["number"]),
            username=core.people.name_of(bytes(row["person_id"])),
            scope="patient" if row["study_key_id"] is None else "study",
            reason=str(row["reason"]),
            emergency=bool(row["emergency"]),
            occurred_at=float(row["occurred_at"]),
            valid_until=float(row["valid_until"]),
            ended_at=float(row["ended_at"]),
            verdict=row["verdict"],
            reviewed_at=float(row["reviewed_at"]),
            display_name=str(person["display_name"]) if person else "",
            roles=str(person["roles"]).split() if person else [],
            due_at=float(row["occurred_at"]) + core.limits.break_glass_review_hours * 3600,
            reviewed_by=core.people.name_of(bytes(row["reviewed_by"])) if row["reviewed_by"] else "",
        )

    async def alarms(self, _: Actor, _request: p.GetAlarms) -> p.Alarms:
        """The alarms that stand."""
        return p.Alarms(items=self._core.alarms.standing())

    # --- what it was about ------------------------------------------------------------------------------

    async def show(self, actor: Actor, request: p.ShowBreakGlass) -> p.BreakGlassShown:
        """Studies, note and comment. Raises GuardRefused('not_found' and what `Approvals` raises)."""
        core = self._core
        with core.engine.connect() as connection:
            row = self._checked(connection, request.number)
        by = await self._approvals.who(actor, request.by, not_also=bytes(row["person_id"]))
        await core.note(events.BreakGlassChanged(by, bytes(row["id"]), request.number, "shown"))
        with core.engine.connect() as connection:
            query = sa.select(study.c.uid).where(study.c.patient_id == row["patient_id"])
            if row["study_key_id"] is not None:
                query = query.where(study.c.key_id == row["study_key_id"])
            studies = [str(uid) for uid in connection.execute(query.limit(_MOST_STUDIES)).scalars()]
            key = self._patient_key(connection, bytes(row["patient_id"]))
            kept = sa.select(glass_comment.c.sealed).where(glass_comment.c.break_glass_id == row["id"])
            comment = connection.execute(kept).scalar()
        note, identifier = row["note"], bytes(row["id"])
        return p.BreakGlassShown(
            studies=studies,
            note=_opened(key, column_context("break_glass", "note", identifier), note),
            comment=_opened(key, _comment_context(identifier), comment),
        )

    def _sealed(self, row: Row, comment: str) -> bytes:
        """Raises GuardRefused('conflict') where the patient's key is gone: nobody could ever read it."""
        if not comment:
            return b""
        with self._core.engine.connect() as connection:
            key = self._patient_key(connection, bytes(row["patient_id"]))
        if key is None:
            raise GuardRefused("conflict")
        return seal_column(key, _comment_context(bytes(row["id"])), comment.encode())

    def _patient_key(self, connection: sa.Connection, identifier: bytes) -> bytes | None:
        try:
            return catalogue.patient_by_id(self._core, connection, identifier).key
        except (GuardRefused, CryptoError):
            return None


def _comment_context(permit: bytes) -> bytes:
    return column_context("glass_comment", "sealed", permit)


def _opened(key: bytes | None, context: bytes, sealed: bytes | None) -> str:
    """What was written; "" where nothing was, or the key is gone."""
    try:
        return open_column(key, context, bytes(sealed)).decode() if key and sealed else ""
    except CryptoError:
        return ""
