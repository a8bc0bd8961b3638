"""Storage commitment: which of a device's own instances the archive answers for.

Rules, in order:
1. A device is told about what it sent, and about nothing else: an instance of somebody else is unknown.
2. Held means: the row is committed, its file is there with its length, and its study is not closed for destruction.
   Row, leaf and file were durable before the row could be read (`guard.ingest`).
3. What was sent again and kept once counts as sent, for as long as this guard runs.
4. A report is durable before its request is answered. It stays until the device has confirmed it: on an association
   of its own, or on one that a front opens to the destination registered for it (`queue_tries`, waits as of the
   sending queue). Without a destination it waits for the device.
5. A report says "held" only of what is held when it is delivered.
6. Who lost a lease changes nothing. What an operator does is an entry.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.database.commitment_schema import commitment_report
from ribcage.database.schema import instance
from ribcage.evidence.audit_event import RoutingChange, RoutingChanged
from ribcage.guard._jobs import wait_seconds
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.destinations import Destinations
from ribcage.guard.errors import GuardRefused
from ribcage.guard.ingest import Ingest
from ribcage.guard.protocol import (
    CheckCommitment,
    CommitmentChecked,
    DropReport,
    Held,
    JobRefusal,
    ListOwedReports,
    NoJob,
    Noted,
    OwedReport,
    OwedReports,
    ReportHeard,
    ReportLine,
    ReportLines,
    ReportOver,
    ReportPage,
    ReportTaken,
    RetryReport,
    TakeReport,
)

_ROWS_AT_ONCE = 500
_LEASE_BYTES = 16
_AT_ONCE = 16  # reports to one association
_LOOKS = 60  # within `queue_most_seconds`, whether there is a destination now
_NOBODY = b""
_OPEN = ("waiting", "sending", "failed")
_Told = list[tuple[str, str, Held]]
_row = commitment_report.c


class Commitments:
    """Answers for one guard, and the reports it owes; their rows are its only state."""

    def __init__(self, core: Core, ingest: Ingest, destinations: Destinations) -> None:
        self._core = core
        self._ingest = ingest
        self._destinations = destinations

    async def check(self, actor: Actor, request: CheckCommitment) -> CommitmentChecked:
        """One word for each reference, in order. Raises GuardRefused('not_permitted' | 'invalid')."""
        if actor.device is None or "store" not in actor.device.may:
            raise GuardRefused("not_permitted")
        if len(request.references) > self._core.limits.commitment_references:
            raise GuardRefused("invalid")
        held = await asyncio.to_thread(self._held, actor, request)
        if not request.transaction:
            return CommitmentChecked(held)
        told = [(*pair, word) for pair, word in zip(request.references, held, strict=True)]
        number = await self._core.committer.run(lambda tx: self._keep(tx, actor, request.transaction, told))
        return CommitmentChecked(held, number)

    def _held(self, actor: Actor, request: CheckCommitment) -> list[Held]:
        classes = self._classes((uid for _, uid in request.references), actor)
        return [_word(classes.get(uid), sop_class) for sop_class, uid in request.references]

    def _classes(self, uids: Iterable[str], actor: Actor | None = None) -> dict[str, str]:
        """SOP classes of those that are held, and were sent by `actor` where one is given. Blocking."""
        classes: dict[str, str] = {}
        asked = list(uids)
        with self._core.engine.connect() as connection:
            for first in range(0, len(asked), _ROWS_AT_ONCE):
                query = sa.select(instance).where(instance.c.uid.in_(asked[first : first + _ROWS_AT_ONCE]))
                for row in connection.execute(query).mappings():
                    if (actor is None or self._sent(actor, row)) and self._is_held(row):
                        classes[str(row["uid"])] = str(row["sop_class_uid"])
        return classes

    def _sent(self, actor: Actor, row: sa.RowMapping) -> bool:
        return row["source"] == actor.source or self._ingest.was_sent_again(actor, str(row["uid"]))

    def _is_held(self, row: sa.RowMapping) -> bool:
        if self._core.closed.closes(bytes(row["key_id"])):
            return False
        try:
            found = (Path(self._core.objects_root) / str(row["location"])).stat()
        except OSError:
            return False
        return found.st_size >= int(row["file_bytes"])  # a pack holds several

    # --- what is owed -----------------------------------------------------------------------------------

    def _keep(self, tx: Transaction, actor: Actor, transaction: str, told: _Told) -> int:
        """Rule 4: the number of the report."""
        core, connection = self._core, tx.connection
        own = _row.device_id == actor.identifier
        again = sa.and_(own, _row.transaction_uid == transaction, _row.state != "sending")
        connection.execute(sa.delete(commitment_report).where(again))
        free = sa.select(_row.number).where(own, _row.state != "sending").order_by(_row.number.desc())
        late = connection.execute(free.offset(core.limits.commitment_reports - 1)).scalars().all()
        connection.execute(sa.delete(commitment_report).where(_row.number.in_(late)))
        number = int(connection.execute(sa.select(sa.func.max(_row.number))).scalar() or 0) + 1
        now = core.clock()
        values = {
            "number": number,
            "device_id": actor.identifier,
            "ae_title": getattr(actor.evidence, "ae_title", "") or "",
            "transaction_uid": transaction,
            "told": msgspec.json.encode(told),
            "instances": len(told),
            "failed": sum(word != "held" for _, _, word in told),
            "state": "waiting",
            "refusal": "",
            "tries": 0,
            "made_at": now,
            "next_at": now + core.limits.commitment_wait_seconds,
            "ended_at": 0.0,
            "lease": _NOBODY,
            "lease_until": 0.0,
        }
        connection.execute(sa.insert(commitment_report), values)
        return number

    async def owed(self, actor: Actor, request: ListOwedReports) -> OwedReports:
        """What this device is owed, for an association of its own. Raises GuardRefused('not_permitted')."""
        if actor.device is None or "store" not in actor.device.may:
            raise GuardRefused("not_permitted")
        rows = await self._core.committer.run(lambda tx: self._hand_out(tx, actor))
        return OwedReports([await asyncio.to_thread(self._owed, row) for row in rows])

    def _hand_out(self, tx: Transaction, actor: Actor) -> list[sa.RowMapping]:
        now = self._core.clock()
        free = sa.or_(_row.state.in_(("waiting", "failed")), _row.lease_until <= now)
        mine = sa.and_(_row.device_id == actor.identifier, _row.state.in_(_OPEN), free)
        query = sa.select(commitment_report).where(mine).order_by(_row.number).limit(_AT_ONCE)
        rows = list(tx.connection.execute(query).mappings())
        later = now + self._core.limits.commitment_wait_seconds
        for row in rows:
            _change(tx.connection, int(row["number"]), next_at=max(later, float(row["next_at"])))
        return rows

    def _owed(self, row: sa.RowMapping) -> OwedReport:
        """Rule 5. Blocking."""
        told = msgspec.json.decode(bytes(row["told"]), type=_Told)
        still = self._classes(uid for _, uid, word in told if word == "held")
        now: _Told = [
            (sop_class, uid, _word(still.get(uid), sop_class) if word == "held" else word)
            for sop_class, uid, word in told
        ]
        return OwedReport(int(row["number"]), str(row["transaction_uid"]), now)

    async def heard(self, actor: Actor, request: ReportHeard) -> Noted:
        """The device confirmed, or left without: then it is due now. Raises GuardRefused('not_found')."""

        def write(tx: Transaction) -> Noted:
            row = _find(tx.connection, request.report)
            if row is None or row["device_id"] != actor.identifier:
                raise GuardRefused("not_found")
            if request.confirmed:
                self._done(tx.connection, row)
            elif row["state"] == "waiting":
                _change(tx.connection, request.report, next_at=self._core.clock())
            return Noted()

        return await self._core.committer.run(write)

    # --- who delivers -----------------------------------------------------------------------------------

    async def take(self, _: TakeReport) -> ReportTaken | NoJob:
        """The next report that is due, under a lease."""
        core = self._core
        with core.engine.connect() as connection:
            if _due(connection, core.clock()) is None:
                return NoJob()
        found = await core.committer.run(self._take)
        if found is None:
            return NoJob()
        row, token, title = found
        where = self._destinations.of_device(bytes(row["device_id"]), title)
        if where is None:
            return NoJob()
        owed = await asyncio.to_thread(self._owed, row)
        known = where[1]
        seconds = core.limits.queue_lease_seconds
        return ReportTaken(owed, token, seconds, title, known.fingerprint, known.address, known.port)

    def _take(self, tx: Transaction) -> tuple[sa.RowMapping, bytes, str] | None:
        core, now = self._core, self._core.clock()
        while (row := _due(tx.connection, now)) is not None:
            if row["state"] == "sending":  # its sender is gone
                self._give_back(tx.connection, row, "interrupted")
                continue
            where = self._destinations.of_device(bytes(row["device_id"]), str(row["ae_title"]))
            if where is None:  # it waits for the device
                later = now + core.limits.queue_most_seconds / _LOOKS
                _change(tx.connection, int(row["number"]), next_at=later, refusal="destination_unknown")
                continue
            token = os.urandom(_LEASE_BYTES)
            until = now + core.limits.queue_lease_seconds
            _change(tx.connection, int(row["number"]), state="sending", lease=token, lease_until=until)
            return row, token, where[0]
        return None

    async def over(self, request: ReportOver) -> Noted:
        """The sender is through with it. Raises GuardRefused('conflict')."""

        def write(tx: Transaction) -> Noted:
            row = _find(tx.connection, request.report)
            if row is None or row["state"] != "sending" or row["lease"] != request.lease or not request.lease:
                raise GuardRefused("conflict")
            if request.refusal:
                self._give_back(tx.connection, row, request.refusal)
            else:
                self._done(tx.connection, row)
            return Noted()

        return await self._core.committer.run(write)

    def _give_back(self, connection: sa.Connection, row: sa.RowMapping, refusal: JobRefusal) -> None:
        core, tries = self._core, int(row["tries"]) + (refusal != "interrupted")
        failed, now = tries >= core.limits.queue_tries, core.clock()
        _change(
            connection,
            int(row["number"]),
            state="failed" if failed else "waiting",
            refusal=refusal,
            tries=tries,
            next_at=now + wait_seconds(core.limits, tries),
            ended_at=now if failed else 0.0,
            lease=_NOBODY,
            lease_until=0.0,
        )

    def _done(self, connection: sa.Connection, row: sa.RowMapping) -> None:
        ended = {"state": "done", "refusal": "", "told": b"", "ended_at": self._core.clock()}
        _change(connection, int(row["number"]), **ended, lease=_NOBODY, lease_until=0.0)

    # --- what operators see and do ----------------------------------------------------------------------

    def page(self, request: ReportPage) -> ReportLines:
        """Reports by number."""
        names = {bytes(row["id"]): str(row["name"]) for row in self._core.devices.all()}
        most = min(max(request.count, 0), self._core.limits.queue_page_jobs)
        query = sa.select(commitment_report).where(_row.number >= request.start).order_by(_row.number)
        with self._core.engine.connect() as connection:
            rows = connection.execute(query.limit(most)).mappings().all()
        return ReportLines([_line(row, names) for row in rows])

    async def retry(self, actor: Actor, request: RetryReport) -> Noted:
        """Make it due now. Raises GuardRefused('not_found' | 'conflict')."""
        again = {"state": "waiting", "refusal": "", "tries": 0, "ended_at": 0.0}

        def write(tx: Transaction) -> Noted:
            self._idle(tx.connection, request.report, done=False)
            _change(tx.connection, request.report, **again, next_at=self._core.clock())
            return self._note(tx, actor, "report-retried", request.report)

        return await self._core.committer.run(write)

    async def drop(self, actor: Actor, request: DropReport) -> Noted:
        """Forget it. Raises GuardRefused('not_found' | 'conflict')."""

        def write(tx: Transaction) -> Noted:
            self._idle(tx.connection, request.report, done=True)
            tx.connection.execute(sa.delete(commitment_report).where(_row.number == request.report))
            return self._note(tx, actor, "report-dropped", request.report)

        return await self._core.committer.run(write)

    def _note(self, tx: Transaction, actor: Actor, change: RoutingChange, number: int) -> Noted:
        tx.append(self._core.entry(RoutingChanged(actor.evidence, change, number)))
        return Noted()

    @staticmethod
    def _idle(connection: sa.Connection, number: int, *, done: bool) -> None:
        row = _find(connection, number)
        if row is None:
            raise GuardRefused("not_found")
        if row["state"] == "sending" or (row["state"] == "done" and not done):
            raise GuardRefused("conflict")


def _find(connection: sa.Connection, number: int) -> sa.RowMapping | None:
    query = sa.select(commitment_report).where(_row.number == number)
    return connection.execute(query).mappings().first()


def _change(connection: sa.Connection, number: int, **values: Any) -> None:
    connection.execute(sa.update(commitment_report).where(_row.number == number).values(**values))


def _due(connection: sa.Connection, now: float) -> sa.RowMapping | None:
    waits = sa.and_(_row.state == "waiting", _row.next_at <= now)
    left = sa.and_(_row.state == "sending", _row.lease_until <= now)
    query = sa.select(commitment_report).where(sa.or_(waits, left)).order_by(_row.next_at, _row.number)
    return connection.execute(query.limit(1)).mappings().first()


def _line(row: sa.RowMapping, names: dict[bytes, str]) -> ReportLine:
    told = {name: row[name] for name in ("ae_title", "state", "refusal", "tries", "instances", "failed")}
    return msgspec.convert(
        told
        | {
            "report": row["number"],
            "device": names.get(bytes(row["device_id"]), ""),
            "transaction": row["transaction_uid"],
            "made_at": row["made_at"],
            "next_at": row["next_at"],
        },
        type=ReportLine,
    )


def _word(held: str | None, asked: str) -> Held:
    if held is None:
        return "unknown"
    return "held" if held == asked else "class_conflict"
