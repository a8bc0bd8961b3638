"""Who stands behind a project's pseudonym: two persons, an entry, an alarm, and the patient sees that it was asked.

Rules, in order:
1. One person asks with a reason of the closed list, another approves (`guard.approvals`): password and code each.
2. An asking lapses after a day. It keeps no pseudonym, only its token: who approves shows the pseudonym again.
3. What is told is read from links whose MAC and seal hold, under the keys of studies that still exist.
4. The entry of each patient is durable before the answer; their page shows it.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.research import project, reidentification, release_link
from ribcage.database.schema import study
from ribcage.evidence.audit_event import PersonActor, ReidentificationChanged
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.projects import find_row
from ribcage.guard.protocol import Alarm
from ribcage.guard.releases import Link, pseudonym_token

_ASKED_SECONDS = 24 * 3600.0
_MOST_PSEUDONYM = 64
Row = dict[str, Any]


class Reidentifications:
    """Asks, approves, cancels, lists."""

    def __init__(self, core: Core, approvals: Approvals) -> None:
        self._core = core
        self._approvals = approvals

    async def ask(self, _: Actor, request: p.AskReidentification) -> p.ReidentificationItem:
        """The first person. Raises GuardRefused('not_found' | 'invalid' and what `Approvals` raises)."""
        core, by = self._core, await self._approvals.verify(request.by)
        if not 0 < len(request.pseudonym) <= _MOST_PSEUDONYM:
            raise GuardRefused("invalid")

        def write(tx: Transaction) -> Row:
            whose = find_row(core, tx.connection, request.project)
            token = pseudonym_token(core, bytes(whose["id"]), request.pseudonym)
            if not _links(core, tx.connection, bytes(whose["id"]), token):
                raise GuardRefused("not_found")
            last = tx.connection.execute(sa.select(sa.func.max(reidentification.c.number))).scalar()
            values: Row = {
                "id": os.urandom(16),
                "number": int(last or 0) + 1,
                "project_id": bytes(whose["id"]),
                "token": token,
                "reason": request.reason,
                "state": "asked",
                "asked_by": by.person,
                "asked_at": core.clock_watch.trusted(),
                "approved_by": None,
                "ended_at": 0.0,
            }
            row = core.rows.insert(tx.connection, reidentification, values)
            core.append(tx, _changed(by, row, "asked"))
            return row

        return self._item(await core.committer.run(write))

    async def approve(self, _: Actor, request: p.ApproveReidentification) -> p.Reidentified:
        """The second person. Raises GuardRefused."""
        core, now = self._core, self._core.clock_watch.trusted()
        with core.engine.connect() as connection:
            asked = self._row(connection, request.number)
        by = await self._approvals.verify(request.by, not_also=bytes(asked["asked_by"]))
        shown = pseudonym_token(core, bytes(asked["project_id"]), request.pseudonym)
        if shown != bytes(asked["token"]) or now >= float(asked["asked_at"]) + _ASKED_SECONDS:
            raise GuardRefused("not_found")

        def write(tx: Transaction) -> p.Reidentified:
            row = self._row(tx.connection, request.number)
            links = _links(core, tx.connection, bytes(row["project_id"]), shown)
            studies = [_behind(core, tx.connection, link, request.pseudonym) for link in links]
            if not studies:
                raise GuardRefused("not_found")
            done = {"state": "done", "approved_by": by.person, "ended_at": now}
            core.rows.update(tx.connection, reidentification, dict(row, **done))
            index = -1
            for patient_id in sorted({each.patient_id for each in studies}):
                keys = tuple(each.key_id for each in studies if each.patient_id == patient_id)
                index = core.append(tx, _changed(by, row, "done", patient_id, keys))
            named = {_written(core, tx.connection, each) for each in studies}
            return p.Reidentified(sorted(named), sorted(each.uid for each in studies), index)

        answer = await core.committer.run(write)
        core.alarms.sound(Alarm("reidentified", core.clock(), -1))
        return answer

    async def cancel(self, _: Actor, request: p.CancelReidentification) -> p.ReidentificationItem:
        """Take back what nobody approved. Raises GuardRefused."""
        core, by = self._core, await self._approvals.verify(request.by)

        def write(tx: Transaction) -> Row:
            row = self._row(tx.connection, request.number)
            core.append(tx, _changed(by, row, "cancelled"))
            ended = {"state": "cancelled", "ended_at": core.clock_watch.trusted()}
            return core.rows.update(tx.connection, reidentification, dict(row, **ended))

        return self._item(await core.committer.run(write))

    def page(self, request: p.ReidentificationPage) -> p.ReidentificationItems:
        """In order."""
        table = reidentification
        query = sa.select(table).where(table.c.number >= request.start).order_by(table.c.number)
        with self._core.engine.connect() as connection:
            rows = connection.execute(query.limit(min(max(request.count, 0), 1000))).mappings().all()
        return p.ReidentificationItems([self._item(dict(row)) for row in rows])

    def _row(self, connection: sa.Connection, number: int) -> Row:
        """One that waits. Raises GuardRefused('not_found' | 'conflict'), RowTampered."""
        query = sa.select(reidentification).where(reidentification.c.number == number)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_found")
        if row["state"] != "asked":
            raise GuardRefused("conflict")
        return self._core.rows.check(reidentification, row)

    def _item(self, row: Row) -> p.ReidentificationItem:
        query = sa.select(project.c.name).where(project.c.id == row["project_id"])
        with self._core.engine.connect() as connection:
            name = str(connection.execute(query).scalar_one())
        return p.ReidentificationItem(
            number=int(row["number"]),
            project=name,
            state=row["state"],
            reason=row["reason"],
            asked_at=float(row["asked_at"]),
            ended_at=float(row["ended_at"]),
        )


def _links(core: Core, connection: sa.Connection, project_id: bytes, token: bytes) -> list[Row]:
    """Links of a project that this token finds, by patient or study. Raises RowTampered."""
    found = sa.or_(release_link.c.patient_token == token, release_link.c.study_token == token)
    query = sa.select(release_link).where(release_link.c.project_id == project_id, found)
    return [core.rows.check(release_link, row) for row in connection.execute(query).mappings().all()]


def _behind(core: Core, connection: sa.Connection, link: Row, pseudonym: str) -> HeldStudy:
    """The study of a link, whose seal says the same pseudonym (rule 3). Raises GuardRefused('unavailable')."""
    query = catalogue.JOINED.where(study.c.key_id == link["study_key_id"])
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise GuardRefused("unavailable")
    held = catalogue.open_row(core, row)
    context = column_context("release_link", "sealed", bytes(link["id"]))
    try:
        told = msgspec.json.decode(open_column(held.key, context, bytes(link["sealed"])), type=Link)
    except (CryptoError, msgspec.MsgspecError) as failure:
        raise GuardRefused("unavailable") from failure
    if pseudonym not in (told.pseudonym, told.study):
        raise GuardRefused("unavailable")
    return held


def _written(core: Core, connection: sa.Connection, held: HeldStudy) -> str:
    """The patient as 'ID' or 'ID|ISSUER'."""
    sealed = connection.execute(sa.select(study.c.sealed).where(study.c.pk == held.pk)).scalar_one()
    facts = catalogue.facts_of(held, bytes(sealed))
    issuer = facts.issuer_of_patient_id
    return f"{facts.patient_id}|{issuer}" if issuer else facts.patient_id


def _changed(
    by: PersonActor, row: Row, change: Any, patient_id: bytes | None = None, studies: tuple[bytes, ...] = ()
) -> ReidentificationChanged:
    return ReidentificationChanged(
        actor=by,
        project=bytes(row["project_id"]),
        number=int(row["number"]),
        change=change,
        reason=str(row["reason"]),
        patient=patient_id,
        studies=studies,
    )
