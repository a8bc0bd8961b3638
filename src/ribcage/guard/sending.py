"""The sending queue: what waits for a destination, who sends it now, what arrived.

Rules, in order (DESIGN rules 1, 2 and 8):
1. The queue gives no key and no right. Each try asks `Disclose` anew: for the destination's certificate, and for
   the asker's too where a C-MOVE left the job behind. What that refuses ends the job with its reason.
2. A job is sent under a lease. It ends when its sender was not heard for `queue_lease_seconds`; a lease outlives a
   restart of the guard, so that what arrived meanwhile is noted by the sender that saw it.
3. Each acknowledged instance is durable before the next one is sent, and is not sent again. Between the destination's
   answer and that note, and where the answer itself was lost, nobody knows: it is sent again, and the destination
   sees the same SOP Instance UID twice.
4. Who lost a lease changes nothing.
5. What an operator does to the queue is an entry.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import sqlalchemy as sa

from ribcage.database.schema import instance, send_item, send_job, series, study
from ribcage.evidence.audit_event import RoutingChanged
from ribcage.guard import _jobs
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.destinations import Destinations
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import (
    Device,
    DropJob,
    HoldJob,
    JobItem,
    JobOver,
    JobShown,
    JobTaken,
    NoJob,
    Noted,
    Queued,
    QueueLines,
    QueueMove,
    QueuePage,
    QueueStudy,
    RetryJob,
    ShowJob,
    TakeJob,
)
from ribcage.guard.rejections import shown

_LEASE_BYTES = 16
_ROWS_AT_ONCE = 500


class SendingQueue:
    """The queue of one home; its rows are its only state."""

    def __init__(self, core: Core, destinations: Destinations) -> None:
        self._core = core
        self._destinations = destinations

    # --- what comes in ----------------------------------------------------------------------------------

    async def send(self, actor: Actor, request: QueueStudy) -> Queued:
        """Queue a study or series for a destination. Raises GuardRefused('not_found' | 'conflict')."""
        core = self._core
        fingerprint = self._destinations.known(request.ae_title).fingerprint
        with core.engine.connect() as connection:
            uids = _instances(self._core, connection, request.study_instance_uid, request.series_instance_uid)
        if not uids:
            raise GuardRefused("not_found")

        def write(tx: Transaction) -> Queued:
            order = _jobs.Order(request.ae_title, request.study_instance_uid, "operator")
            number = _jobs.put(tx.connection, core.limits, core.clock(), order, uids)
            if not number:
                raise GuardRefused("conflict")
            tx.append(core.entry(RoutingChanged(actor.evidence, "job-made", number, fingerprint)))
            return Queued(number, len(uids))

        return await core.committer.run(write)

    async def move(self, actor: Actor, request: QueueMove) -> Queued:
        """Queue what a C-MOVE left behind, where the destination's setting says so. Raises GuardRefused."""
        core = self._core
        if actor.device is None or "retrieve" not in actor.device.may:
            raise GuardRefused("not_permitted")
        if len(request.sop_instance_uids) > core.limits.queue_job_instances:
            raise GuardRefused("invalid")
        known = self._destinations.known(request.ae_title)
        if not self._destinations.retries_moves(request.ae_title):
            return Queued(0, 0)
        asker = Device(actor.digest, getattr(request.principal, "ae_title", ""), actor.address)

        def write(tx: Transaction) -> Queued:
            made, count = 0, 0
            for study_uid, uids in _by_study(self._core, tx.connection, request.sop_instance_uids).items():
                order = _jobs.Order(request.ae_title, study_uid, "move")
                number = _jobs.put(tx.connection, core.limits, core.clock(), order, uids, asker)
                if number:
                    change = RoutingChanged(actor.evidence, "job-made", number, known.fingerprint)
                    tx.append(core.entry(change))
                    made, count = number, count + len(uids)
            return Queued(made, count)

        return await core.committer.run(write)

    # --- who sends --------------------------------------------------------------------------------------

    async def take(self, _: TakeJob) -> JobTaken | NoJob:
        """The next job that is due, under a lease."""
        core = self._core
        with core.engine.connect() as connection:
            if _jobs.due(connection, core.clock()) is None:
                return NoJob()
        return await core.committer.run(self._take)

    def _take(self, tx: Transaction) -> JobTaken | NoJob:
        core, connection, now = self._core, tx.connection, self._core.clock()
        while (row := _jobs.due(connection, now)) is not None:
            number, title = int(row["number"]), str(row["destination"])
            if row["state"] == "sending":  # its sender is gone
                _jobs.give_back(connection, core.limits, now, row, "interrupted")
                continue
            try:
                known = self._destinations.known(title)
            except GuardRefused:
                _jobs.give_back(connection, core.limits, now, row, "destination_unknown")
                continue
            token = os.urandom(_LEASE_BYTES)
            _jobs.lease(connection, number, token, now + core.limits.queue_lease_seconds)
            asker = Device(bytes(row["asker"]), str(row["asker_title"]), str(row["asker_address"]))
            return JobTaken(
                job=number,
                lease=token,
                lease_seconds=core.limits.queue_lease_seconds,
                ae_title=title,
                fingerprint=known.fingerprint,
                address=known.address,
                port=known.port,
                study_instance_uid=str(row["study_uid"]),
                sop_instance_uids=_jobs.left(connection, number),
                asker=asker if asker.fingerprint else None,
            )
        return NoJob()

    async def hold(self, request: HoldJob) -> Noted:
        """Begin the lease anew. Raises GuardRefused('conflict')."""

        def write(tx: Transaction) -> Noted:
            self._leased(tx.connection, request)
            self._renew(tx.connection, request.job)
            return Noted()

        return await self._core.committer.run(write)

    async def item(self, request: JobItem) -> Noted:
        """Note the destination's answer for one instance (rule 3). Raises GuardRefused('conflict' | 'invalid')."""

        def write(tx: Transaction) -> Noted:
            self._leased(tx.connection, request)
            uid, status = request.sop_instance_uid, request.status & 0xFFFF
            if not _jobs.arrived(tx.connection, request.job, uid, status, here=request.arrived):
                raise GuardRefused("invalid")
            self._renew(tx.connection, request.job)
            return Noted()

        return await self._core.committer.run(write)

    async def over(self, request: JobOver) -> Noted:
        """The sender is through with it. Raises GuardRefused('conflict')."""
        core = self._core

        def write(tx: Transaction) -> Noted:
            row = self._leased(tx.connection, request)
            _jobs.give_back(tx.connection, core.limits, core.clock(), row, request.refusal)
            return Noted()

        return await core.committer.run(write)

    def _leased(self, connection: sa.Connection, request: HoldJob | JobItem | JobOver) -> sa.RowMapping:
        """The job's row, for who holds it (rule 4)."""
        row = _jobs.find(connection, request.job)
        if row is None or row["state"] != "sending" or not request.lease or row["lease"] != request.lease:
            raise GuardRefused("conflict")
        return row

    def _renew(self, connection: sa.Connection, number: int) -> None:
        until = self._core.clock() + self._core.limits.queue_lease_seconds
        _jobs.change(connection, number, lease_until=until)

    # --- what operators see and do ----------------------------------------------------------------------

    def page(self, request: QueuePage) -> QueueLines:
        """Jobs by number."""
        query = sa.select(send_job).where(send_job.c.number >= request.start).order_by(send_job.c.number)
        if request.state:
            query = query.where(send_job.c.state == request.state)
        most = min(max(request.count, 0), self._core.limits.queue_page_jobs)
        with self._core.engine.connect() as connection:
            rows = connection.execute(query.limit(most)).mappings().all()
        return QueueLines([_jobs.line(row) for row in rows])

    def show(self, request: ShowJob) -> JobShown:
        """One job with its instances. Raises GuardRefused('not_found')."""
        with self._core.engine.connect() as connection:
            row = _jobs.find(connection, request.job)
            query = sa.select(send_item).where(send_item.c.job == request.job).order_by(send_item.c.uid)
            items = connection.execute(query).mappings().all()
        if row is None:
            raise GuardRefused("not_found")
        told = [(str(one["uid"]), bool(one["sent"]), int(one["status"])) for one in items]
        return JobShown(_jobs.line(row), told)

    async def retry(self, actor: Actor, request: RetryJob) -> Noted:
        """Make it due now. Raises GuardRefused('not_found' | 'conflict')."""

        def write(tx: Transaction) -> Noted:
            self._idle(tx.connection, request.job, retried=True)
            now = self._core.clock()
            _jobs.change(
                tx.connection, request.job, state="waiting", refusal="", tries=0, next_at=now, ended_at=0.0
            )
            tx.append(self._core.entry(RoutingChanged(actor.evidence, "job-retried", request.job)))
            return Noted()

        return await self._core.committer.run(write)

    async def drop(self, actor: Actor, request: DropJob) -> Noted:
        """Forget it. Raises GuardRefused('not_found' | 'conflict')."""

        def write(tx: Transaction) -> Noted:
            self._idle(tx.connection, request.job, retried=False)
            _jobs.forget(tx.connection, request.job)
            tx.append(self._core.entry(RoutingChanged(actor.evidence, "job-dropped", request.job)))
            return Noted()

        return await self._core.committer.run(write)

    @staticmethod
    def _idle(connection: sa.Connection, number: int, *, retried: bool) -> None:
        row = _jobs.find(connection, number)
        if row is None:
            raise GuardRefused("not_found")
        ended = row["state"] == "done" or row["refusal"] == "queue_full"
        if row["state"] == "sending" or (retried and ended):
            raise GuardRefused("conflict")


@dataclass(frozen=True)
class Depth:
    """How much stands in the queue."""

    waiting: int  # being sent too
    failed: int
    oldest_seconds: float  # 0.0: nothing waits


def depth(core: Core) -> Depth:
    """The queue of this home as it is now."""
    query = sa.select(send_job.c.state, sa.func.count(), sa.func.min(send_job.c.made_at))
    with core.engine.connect() as connection:
        rows = connection.execute(query.group_by(send_job.c.state)).all()
    counts = {str(state): int(count) for state, count, _ in rows}
    oldest = [core.clock() - float(made) for state, _, made in rows if state in _jobs.OPEN]
    return Depth(
        sum(counts.get(state, 0) for state in _jobs.OPEN), counts.get("failed", 0), max([0.0, *oldest])
    )


def _instances(core: Core, connection: sa.Connection, study_uid: str, series_uid: str) -> list[str]:
    query = (
        sa.select(instance.c.uid)
        .join(study, study.c.pk == instance.c.study_pk)
        .join(series, series.c.pk == instance.c.series_pk)
        .where(study.c.uid == study_uid, *shown(core, None))
    )
    if series_uid:
        query = query.where(series.c.uid == series_uid)
    return [str(uid) for uid in connection.execute(query.order_by(instance.c.pk)).scalars()]


def _by_study(core: Core, connection: sa.Connection, uids: list[str]) -> dict[str, list[str]]:
    """These instances by study; what is not held is left out."""
    found: dict[str, list[str]] = {}
    for first in range(0, len(uids), _ROWS_AT_ONCE):
        query = sa.select(study.c.uid, instance.c.uid).join(study, study.c.pk == instance.c.study_pk)
        some = query.where(instance.c.uid.in_(uids[first : first + _ROWS_AT_ONCE]), *shown(core, None))
        for study_uid, uid in connection.execute(some):
            found.setdefault(str(study_uid), []).append(str(uid))
    return found
