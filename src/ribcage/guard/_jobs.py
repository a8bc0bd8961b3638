"""The sending queue's rows: what each statement does, inside a transaction that somebody else owns.

Rules, in order:
1. An instance stands once in a job, and counts as sent once.
2. A job is one study to one destination. A rule's instances join the job that is open for their study.
3. The table is bounded: where nothing more fits, what was not taken is counted in one failed job of the destination.
4. Done jobs are forgotten, the oldest first; failed ones wait for the operator.
5. Priors wait behind what is new, take at most half of the table, and are remembered for a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import sqlalchemy as sa

from ribcage.database.schema import send_item, send_job
from ribcage.guard.limits import GuardLimits
from ribcage.guard.protocol import Device, JobLine, JobRefusal, JobState, JobWhy

OPEN = ("waiting", "sending")
FINAL: frozenset[JobRefusal] = frozenset({"not_permitted", "not_found", "destination_unknown", "queue_full"})
PRIOR_SECONDS = 86_400.0  # so long a prior is not sent again
_NOBODY = b""


class Order(NamedTuple):
    """What a job is for."""

    destination: str
    study_uid: str
    why: JobWhy


def put(
    connection: sa.Connection,
    limits: GuardLimits,
    now: float,
    order: Order,
    uids: Sequence[str],
    asker: Device | None = None,
) -> int:
    """Queue these instances; the job's number, 0 for a full queue (rule 3)."""
    number = _open_job(connection, limits, order) if order.why == "rule" else 0
    if not number:
        most = limits.queue_jobs // 2 if order.why == "prior" else limits.queue_jobs
        if _kept(connection) >= most or len(uids) > limits.queue_job_instances:
            _count_lost(connection, now, order.destination, len(uids))
            return 0
        number = _new_job(connection, _row(now, order, asker))
    fresh = [{"job": number, "uid": uid, "sent": 0, "status": -1} for uid in dict.fromkeys(uids)]
    connection.execute(sa.insert(send_item), fresh)
    change(connection, number, instances=send_job.c.instances + len(fresh))
    return number


def _open_job(connection: sa.Connection, limits: GuardLimits, order: Order) -> int:
    query = sa.select(send_job.c.number).where(
        send_job.c.study_uid == order.study_uid,
        send_job.c.destination == order.destination,
        send_job.c.why == order.why,
        send_job.c.state.in_(OPEN),
        send_job.c.instances < limits.queue_job_instances,
    )
    return int(connection.execute(query.limit(1)).scalar() or 0)


def _kept(connection: sa.Connection) -> int:
    query = sa.select(sa.func.count()).select_from(send_job).where(send_job.c.state != "done")
    return int(connection.execute(query).scalar_one())


def _row(now: float, order: Order, asker: Device | None) -> dict[str, object]:
    return {
        **order._asdict(),
        "state": "waiting",
        "refusal": "",
        "tries": 0,
        "progress": 0,
        "instances": 0,
        "sent": 0,
        "made_at": now,
        "next_at": now,
        "ended_at": 0.0,
        "lease": _NOBODY,
        "lease_until": 0.0,
        "asker": asker.fingerprint if asker else b"",
        "asker_title": asker.ae_title if asker else "",
        "asker_address": asker.address if asker else "",
    }


def _new_job(connection: sa.Connection, row: dict[str, object]) -> int:
    number = int(connection.execute(sa.select(sa.func.max(send_job.c.number))).scalar() or 0) + 1
    connection.execute(sa.insert(send_job), dict(row, number=number))
    return number


def _count_lost(connection: sa.Connection, now: float, title: str, count: int) -> None:
    query = sa.select(send_job.c.number).where(
        send_job.c.study_uid == "", send_job.c.destination == title, send_job.c.refusal == "queue_full"
    )
    number = connection.execute(query.limit(1)).scalar()
    if number is None:
        row = _row(now, Order(title, "", "rule"), None)
        number = _new_job(connection, dict(row, state="failed", refusal="queue_full", ended_at=now))
    change(connection, int(number), instances=send_job.c.instances + count)


def change(connection: sa.Connection, number: int, **values: object) -> None:
    """Update one job's columns."""
    connection.execute(sa.update(send_job).where(send_job.c.number == number).values(**values))


def find(connection: sa.Connection, number: int) -> sa.RowMapping | None:
    """One job's row."""
    return connection.execute(sa.select(send_job).where(send_job.c.number == number)).mappings().first()


def due(connection: sa.Connection, now: float) -> sa.RowMapping | None:
    """The job to be sent next: one at a time for each destination; whose sender was not heard is free again."""
    busy = sa.select(send_job.c.destination).where(
        send_job.c.state == "sending", send_job.c.lease_until > now
    )
    query = (
        sa.select(send_job)
        .where(
            sa.or_(
                sa.and_(send_job.c.state == "waiting", send_job.c.next_at <= now),
                sa.and_(send_job.c.state == "sending", send_job.c.lease_until <= now),
            ),
            send_job.c.destination.not_in(busy),
        )
        .order_by(send_job.c.why == "prior", send_job.c.next_at, send_job.c.number)
        .limit(1)
    )
    return connection.execute(query).mappings().first()


def lease(connection: sa.Connection, number: int, token: bytes, until: float) -> None:
    """Give the job to one sender."""
    change(connection, number, state="sending", lease=token, lease_until=until, progress=0)


def left(connection: sa.Connection, number: int) -> list[str]:
    """SOP Instance UIDs that have not arrived."""
    query = sa.select(send_item.c.uid).where(send_item.c.job == number, send_item.c.sent == 0)
    return [str(uid) for uid in connection.execute(query).scalars()]


def arrived(connection: sa.Connection, number: int, uid: str, status: int, *, here: bool) -> bool:
    """Note the answer for one instance; False where it had arrived before or is not of this job (rule 1)."""
    at = (send_item.c.job == number, send_item.c.uid == uid, send_item.c.sent == 0)
    values = {"sent": int(here), "status": status}
    changed = connection.execute(sa.update(send_item).where(*at).values(values)).rowcount == 1
    if changed and here:
        change(connection, number, sent=send_job.c.sent + 1, progress=send_job.c.progress + 1)
    return changed


def give_back(
    connection: sa.Connection, limits: GuardLimits, now: float, row: sa.RowMapping, refusal: JobRefusal
) -> None:
    """A try has ended: done, failed, or waiting for the next one. Progress begins the count of tries anew."""
    number = int(row["number"])
    if not left(connection, number):
        change(connection, number, state="done", refusal="", ended_at=now, lease=_NOBODY, lease_until=0.0)
        _forget_done(connection, limits, now)
        return
    uncounted = refusal in ("", "interrupted") and row["lease_until"] > now
    tries = 0 if row["progress"] else int(row["tries"]) + (0 if uncounted else 1)
    failed = refusal in FINAL or tries >= limits.queue_tries
    wait = wait_seconds(limits, tries) if refusal else 0.0
    change(
        connection,
        number,
        state="failed" if failed else "waiting",
        refusal=refusal,
        tries=tries,
        progress=0,
        next_at=now + wait,
        ended_at=now if failed else 0.0,
        lease=_NOBODY,
        lease_until=0.0,
    )
    if refusal == "no_association":  # the others for it wait as long, and no try is counted
        others = (send_job.c.destination == row["destination"], send_job.c.state == "waiting")
        later = sa.update(send_job).where(*others, send_job.c.next_at < now + wait)
        connection.execute(later.values(next_at=now + wait))


def wait_seconds(limits: GuardLimits, tries: int) -> float:
    """After this many tries: doubled each time, up to a limit."""
    doubled = limits.queue_first_seconds * 2.0 ** min(max(tries - 1, 0), 32)
    return min(doubled, limits.queue_most_seconds)


def _forget_done(connection: sa.Connection, limits: GuardLimits, now: float) -> None:
    late = sa.and_(send_job.c.why == "prior", send_job.c.ended_at > now - PRIOR_SECONDS)
    for which, most in ((~late, limits.queue_done_jobs), (late, limits.queue_jobs)):
        done = sa.select(send_job.c.number).where(send_job.c.state == "done", which)
        oldest = done.order_by(send_job.c.ended_at.desc(), send_job.c.number.desc()).offset(most).limit(100)
        for number in connection.execute(oldest).scalars().all():
            forget(connection, int(number))


def forget(connection: sa.Connection, number: int) -> None:
    """Remove one job and its instances."""
    connection.execute(sa.delete(send_item).where(send_item.c.job == number))
    connection.execute(sa.delete(send_job).where(send_job.c.number == number))


def known(connection: sa.Connection, destination: str, study_uid: str, since: float) -> set[str]:
    """Instances of a study that wait for a destination, or whose job ended since then."""
    query = (
        sa.select(send_item.c.uid)
        .join(send_job, send_job.c.number == send_item.c.job)
        .where(
            send_job.c.study_uid == study_uid,
            send_job.c.destination == destination,
            sa.or_(send_job.c.state.in_(OPEN), send_job.c.ended_at > since),
        )
    )
    return {str(uid) for uid in connection.execute(query).scalars()}


def forget_failed(connection: sa.Connection, order: Order) -> None:
    """Remove the failed jobs that one like this replaces."""
    query = sa.select(send_job.c.number).where(
        send_job.c.study_uid == order.study_uid,
        send_job.c.destination == order.destination,
        send_job.c.why == order.why,
        send_job.c.state == "failed",
    )
    for number in connection.execute(query).scalars().all():
        forget(connection, int(number))


def forget_study(connection: sa.Connection, study_uid: str) -> None:
    """Remove every job of a study that is destroyed."""
    query = sa.select(send_job.c.number).where(send_job.c.study_uid == study_uid)
    for number in connection.execute(query).scalars().all():
        forget(connection, int(number))


def line(row: sa.RowMapping) -> JobLine:
    """A job as operators see it."""
    return JobLine(
        job=int(row["number"]),
        ae_title=str(row["destination"]),
        study_instance_uid=str(row["study_uid"]),
        why=cast(JobWhy, str(row["why"])),
        state=cast(JobState, str(row["state"])),
        refusal=cast(JobRefusal, str(row["refusal"])),
        tries=int(row["tries"]),
        instances=int(row["instances"]),
        sent=int(row["sent"]),
        made_at=float(row["made_at"]),
        next_at=float(row["next_at"]),
    )
