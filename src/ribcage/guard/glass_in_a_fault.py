"""Broken glass while log, ledger, clock or witness cannot answer (DESIGN rule 5, docs/adr/0010-break-glass.md).

Rules, in order:
1. Decided from the last known state: role, suspension, destruction and legal block hold. A state that is proven false
   (`guard.decision.last_known`) decides nothing, and neither does a full or broken journal.
2. The second factor is a fresh code in the request itself. While the clock is stepped no code can be judged: then the
   session counts whose second factor was fresh when the clock was last right.
3. The record is durable in the emergency journal before anybody is answered, and the alarm sounds.
4. Entries of disclosures under broken glass go to the log, and to the journal where the log cannot take them. What
   was opened in the journal keeps a slot for its closing.
5. When log and ledger answer again, the records go there in their order, each once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ribcage.crypto.errors import CryptoError
from ribcage.evidence.audit_event import EmergencyJournalBroken, Event, PersonActor, SystemActor
from ribcage.guard import protocol as p
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import Denied, fault
from ribcage.guard.emergency_records import (
    ClosingRecord,
    GlassRecord,
    OpeningRecord,
    QueryRecord,
    Record,
    decode,
    encode,
    event_of,
    move_mark,
    read_mark,
)
from ribcage.guard.errors import GuardError, GuardRefused, GuardUnavailable
from ribcage.guard.permits import Permit

_ASSURANCE = 2
Row = dict[str, Any]
WriteRow = Callable[[PersonActor, Row, bytes, Callable[[Transaction], None]], Awaitable[int]]


class GlassInAFault:
    """Proves, journals and hands over. Used on the guard's loop alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._handing_over = asyncio.Lock()
        self._opened: set[bytes] = set()  # disclosures whose closing keeps a slot
        for payload in core.emergency.pending.values():
            with contextlib.suppress(msgspec.ValidationError):
                record = decode(payload)
                if isinstance(record, GlassRecord):
                    core.people.factors.spent(record.person, record.counter)
                    core.permits.add(_permit(record))

    # --- proving and breaking ---------------------------------------------------------------------------

    def prove(self, request: p.BreakGlass) -> int:
        """Rule 2: the spent code's counter, 0 without one. Raises Denied."""
        core = self._core
        watch = core.clock_watch
        visitor = core.people.visitor(request.principal, watch.trusted())
        if watch.stepped:
            if watch.last_right >= visitor.second_factor_until:
                raise Denied("second_factor_needed", "second-factor-was-not-fresh")
            return 0
        if not request.code:
            raise Denied("second_factor_needed", "second-factor-needed")
        try:
            return core.people.factors.spend_code(visitor.person_id, request.code, watch.trusted())
        except GuardRefused as refused:
            raise Denied("second_factor_needed", "wrong-or-used-code") from refused

    async def keep(self, actor: Actor, row: Row, counter: int) -> p.GlassBroken:
        """Rule 3. Raises GuardUnavailable."""
        core = self._core
        record = GlassRecord(
            at=row["occurred_at"],
            person=actor.identifier,
            address=actor.address,
            identifier=row["id"],
            patient=row["patient_id"],
            study=row["study_key_id"],
            resource=row["resource"],
            reason=row["reason"],
            note=row["note"] or b"",
            valid_until=row["valid_until"],
            counter=counter,
            session=actor.visitor.session_id if actor.visitor is not None else b"",
        )
        await self._append(record, keep_free=len(self._opened))
        core.permits.add(_permit(record))
        core.alarms.sound(p.Alarm("break-glass-in-a-fault", record.at))
        return p.GlassBroken(-1, record.valid_until, -1)

    async def _append(self, record: Record, keep_free: int = 0) -> None:
        journal = self._core.emergency
        if journal.room <= keep_free:
            raise GuardUnavailable("the emergency journal is full")
        await asyncio.to_thread(journal.append, encode(record))

    # --- disclosures ------------------------------------------------------------------------------------

    async def opening(self, record: OpeningRecord) -> bytes:
        """The opening record that the log could not take; its bytes. Raises GuardUnavailable."""
        self._opened.add(record.disclosure)
        try:
            await self._append(record, keep_free=len(self._opened))
        except GuardUnavailable:
            self._opened.discard(record.disclosure)
            raise
        return encode(record)

    async def closing(self, record: ClosingRecord) -> None:
        """The same of its closing. Raises GuardUnavailable."""
        keep = self._opened - {record.disclosure}
        await self._append(record, keep_free=0 if record.disclosure in self._opened else len(keep))
        self._opened.discard(record.disclosure)

    async def query(self, record: QueryRecord) -> None:
        """What a query named whose entry the log could not take. Raises GuardUnavailable."""
        await self._append(record, keep_free=len(self._opened))

    def over(self, disclosure: bytes) -> None:
        """A disclosure ended whose closing stands in the log, or never came."""
        self._opened.discard(disclosure)

    # --- handing over -----------------------------------------------------------------------------------

    async def hand_over(self, write_row: WriteRow) -> None:
        """Rule 5. `write_row(actor, row, subject, in_the_same_transaction)` records one access as usual."""
        core = self._core
        journal = core.emergency
        waits = fault(core)
        if (not journal.pending and journal.broken_at < 0) or (waits and waits != "not-witnessed"):
            return
        if core.witness.behind:
            return
        async with self._handing_over:
            try:
                for number in sorted(journal.pending):
                    await self._hand_over_one(number, write_row)
                await asyncio.to_thread(journal.forget, self._mark())
                if journal.broken_at >= 0:
                    await self._report()
            except (GuardError, CryptoError, OSError, msgspec.ValidationError):
                return  # it stays; the next tick tries again

    async def _hand_over_one(self, number: int, write_row: WriteRow) -> None:
        core = self._core
        if number >= self._mark():
            record = decode(core.emergency.pending[number])

            def mark(tx: Transaction) -> None:
                move_mark(tx, core.rows, core.hospital, number + 1)

            if isinstance(record, GlassRecord):
                await self._glass(record, write_row, mark)
            else:
                await core.committer.run(_entry(core, event_of(record), record.at, mark))
        core.emergency.pending.pop(number, None)

    async def _glass(
        self, record: GlassRecord, write_row: WriteRow, mark: Callable[[Transaction], None]
    ) -> None:
        core = self._core

        def settle(tx: Transaction) -> None:
            mark(tx)
            core.people.factors.settle_code(tx, record.person, record.counter)

        row = _row(record)
        actor = PersonActor(record.person, record.address, _ASSURANCE)
        await write_row(actor, row, core.subject("person", record.person), settle)
        core.alarms.name(record.at, int(row["number"]))

    def _mark(self) -> int:
        with self._core.engine.connect() as connection:
            return read_mark(connection, self._core.rows)

    async def _report(self) -> None:
        core = self._core
        at = core.emergency.broken_at
        await core.note(EmergencyJournalBroken(SystemActor("guard"), at))
        core.alarms.sound(p.Alarm("emergency-journal-broken", core.clock_watch.trusted()))
        await asyncio.to_thread(core.emergency.replace, self._mark())


def _entry(
    core: Core, event: Event, at: float, mark: Callable[[Transaction], None]
) -> Callable[[Transaction], int]:
    def write(tx: Transaction) -> int:
        mark(tx)
        return core.append(tx, event, at)

    return write


def _row(record: GlassRecord) -> Row:
    return {
        "id": record.identifier,
        "number": -1,
        "person_id": record.person,
        "patient_id": record.patient,
        "study_key_id": record.study,
        "resource": record.resource,
        "reason": record.reason,
        "note": record.note or None,
        "occurred_at": record.at,
        "valid_until": record.valid_until,
        "ended_at": 0.0,
        "emergency": 1,
        "verdict": "",
        "reviewed_by": None,
        "reviewed_at": 0.0,
    }


def _permit(record: GlassRecord) -> Permit:
    return Permit(
        identifier=record.identifier,
        number=-1,
        person=record.person,
        patient=record.patient,
        study=record.study,
        resource=record.resource,
        occurred_at=record.at,
        valid_until=record.valid_until,
        emergency=True,
        session=record.session,
    )
