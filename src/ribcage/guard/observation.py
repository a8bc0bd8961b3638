"""What may be observed of the guard: numbers for operators and for devices with the right `observe`.

Rules, in order:
1. Every call is counted once, by its kind and the kind of its answer; the contents of neither become a label.
2. Persons get no numbers, other devices neither; a device that asks without the right leaves an entry.
3. Being read leaves no entry: the numbers tell of nobody, and they are read four times a minute for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, get_args

from ribcage.evidence.audit_event import AssociationRefused
from ribcage.guard import protocol as p
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.sending import depth
from ribcage.guard.tally import Tally

_Door = Literal["ok", "failed", "throttled"]
_REASONS: tuple[p.RefusalReason, ...] = get_args(p.RefusalReason)
_KINDS: tuple[p.RefusalKind, ...] = get_args(p.RefusalKind)
_DOOR: tuple[_Door, ...] = get_args(_Door)
_MOST_REPORTED = 1 << 20  # a front's own count, in one report


class Observation:
    """The counters of one guard, and who may read them. `live` tells how many disclosures are open."""

    def __init__(self, core: Core, live: Callable[[], int]) -> None:
        self._core = core
        self._live = live
        self._started = time.monotonic()
        self._admissions: Tally[Literal["admitted", "held"]] = Tally(("admitted", "held"))
        self._instances: Tally[Literal["stored", "parked", "twice"]] = Tally(("stored", "parked", "twice"))
        self._stored_bytes = 0
        self._disclosures: Tally[Literal["masked", "full", "original"]] = Tally(
            ("masked", "full", "original")
        )
        self._disclosures_refused = Tally(_REASONS)
        self._closed: Tally[Literal["complete", "aborted", "cut"]] = Tally(("complete", "aborted", "cut"))
        self._queries: Tally[Literal["answered", "refused"]] = Tally(("answered", "refused"))
        self._log_ins, self._second_factors = Tally(_DOOR), Tally(_DOOR)
        self._refusals = Tally(_REASONS)
        self._connections = Tally(_KINDS)
        self._revocations = 0

    # --- counting ---------------------------------------------------------------------------------------

    def count(self, asked: Any, answer: p.Response) -> None:
        """One call and its answer (rule 1)."""
        if isinstance(answer, p.Refused):
            self._refusals.add(answer.reason)
        match asked:
            case p.Admit() if isinstance(answer, p.Admitted | p.AlreadyHeld):
                self._admissions.add("admitted" if isinstance(answer, p.Admitted) else "held")
            case p.Commit() if isinstance(answer, p.Committed):
                self._committed(asked, answer)
            case p.Query():
                self._queries.add("answered" if isinstance(answer, p.QueryAnswer) else "refused")
            case p.Disclose():
                self._disclosed(answer)
            case p.DisclosureClosed() if isinstance(answer, p.Noted):
                self._closed.add(asked.outcome)
            case p.LogIn():
                self._log_ins.add(_door(answer))
            case p.StepUp():
                self._second_factors.add(_door(answer))
            case p.Refusal() if isinstance(answer, p.Noted):
                self._connections.add(asked.kind, min(max(asked.count, 1), _MOST_REPORTED))
            case _ if isinstance(answer, p.Noted) and _takes_away(asked):
                self._revocations += 1

    def _committed(self, asked: p.Commit, answer: p.Committed) -> None:
        if not answer.kept:
            self._instances.add("twice")
            return
        self._instances.add("parked" if answer.parked else "stored")
        self._stored_bytes += max(asked.file_bytes, 0)

    def _disclosed(self, answer: p.Response) -> None:
        if isinstance(answer, p.Refused):
            self._disclosures_refused.add(answer.reason)
        elif isinstance(answer, p.Disclosed) and answer.view != "none":
            self._disclosures.add(answer.view)

    # --- being read -------------------------------------------------------------------------------------

    async def metrics(self, actor: Actor, _: p.GetMetrics) -> p.Metrics:
        """The numbers as they are now. Raises GuardRefused('not_permitted')."""
        await self._check_right(actor)
        core = self._core
        core.clock_watch.look()
        witness = core.witness.state(core.clock())
        queue = depth(core)
        return p.Metrics(
            uptime_seconds=time.monotonic() - self._started,
            admissions=self._admissions.read(),
            instances=self._instances.read(),
            stored_bytes=self._stored_bytes,
            disclosures=self._disclosures.read(),
            disclosures_refused=self._disclosures_refused.read(),
            disclosures_closed=self._closed.read(),
            queries=self._queries.read(),
            log_ins=self._log_ins.read(),
            second_factors=self._second_factors.read(),
            refusals=self._refusals.read(),
            connections_refused=self._connections.read(),
            revocations=self._revocations,
            live_disclosures=self._live(),
            commit_entries=core.committer.entries.read(),
            commit_seconds=core.committer.seconds.read(),
            log_entries=core.log.size,
            log_unsigned_entries=core.log.unsigned_entries,
            checkpoint_age_seconds=core.log.checkpoint_age(),
            ledger_height=core.ledger.height,
            ledger_behind=core.ledger_behind,
            disk_free_bytes=core.disk.free_bytes,
            disk_stop_bytes=core.limits.disk_stop_mib << 20,
            storing_stopped=core.disk.storing_stopped,
            clock_off_seconds=core.clock_watch.off_seconds,
            clock_stepped=bool(core.clock_watch.stepped),
            witness_trusted=witness.state != "none",
            witness_closed=core.witness.closed,
            witness_silent_seconds=witness.uncovered_seconds,
            queue_waiting=queue.waiting,
            queue_failed=queue.failed,
            queue_oldest_seconds=queue.oldest_seconds,
        )

    async def _check_right(self, actor: Actor) -> None:
        if may_observe(actor):
            return
        index = -1
        if actor.device is not None:
            index = await self._core.note(
                AssociationRefused(actor.evidence, "https", "device-without-observe")
            )
        raise GuardRefused("not_permitted", index)


def may_observe(actor: Actor) -> bool:
    """Rule 2."""
    return actor.kind == "operator" or (actor.device is not None and "observe" in actor.device.may)


def _door(answer: p.Response) -> _Door:
    if not isinstance(answer, p.Refused):
        return "ok"
    return "throttled" if answer.reason == "throttled" else "failed"


def _takes_away(asked: Any) -> bool:
    """Whether this call ends somebody's rights at once."""
    match asked:
        case p.RevokeGrant():
            return True
        case p.Object():
            return asked.standing
        case p.SuspendPerson() | p.SuspendDevice():
            return asked.suspended
    return False
