"""Break-glass: a person opens a film without a grant, loudly, for a while; another person judges it afterwards.

Rules, in order (DESIGN rule 5, docs/adr/0010-break-glass.md):
1. A clinician or radiologist in a session with a fresh second factor; a device never.
2. The contract is asked. What it refuses for suspension, destruction or legal block stays refused; objection,
   withdrawn or missing consent and missing grants are overridden.
3. One signed transaction, one row and one entry, durable together, then the permit; the alarm sounds at once.
4. A person may do so a few times in 24 hours. The permit ends by itself; an operator may end it before.
5. Another person judges it afterwards: `guard.glass_reviews`.
6. While log, ledger, clock or witness cannot answer: `guard.glass_in_a_fault`.
7. Every refusal is an entry; too many in a row are throttled, so that nobody searches by breaking glass.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from ribcage.crypto.columns import column_context, seal_column
from ribcage.database.schema import break_glass, patient
from ribcage.evidence import audit_event as events
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.accounts import Accounts, Throttle
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import TREATING_ROLES, Denied, ask_about, check_overridable, fault, last_known
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.glass_in_a_fault import GlassInAFault
from ribcage.guard.rights import Rights
from ribcage.ledger import calls
from ribcage.ledger.client import Prepared

MOST_NOTE_CHARACTERS, MOST_NOTE_BYTES = 200, 600
_ID_BYTES = 16
Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What is to be opened. `resources` are asked of the contract, `resource` is what the permit names."""

    patient: bytes
    patient_key: bytes
    study: bytes | None
    resource: bytes
    resources: tuple[bytes, ...]


class BreakGlass:
    """Breaks the glass, and hands over what was broken in a fault."""

    def __init__(
        self,
        core: Core,
        rights: Rights,
        accounts: Accounts,
        in_a_fault: GlassInAFault,
    ) -> None:
        self._core = core
        self._rights = rights
        self._accounts = accounts
        self.in_a_fault = in_a_fault
        self._one_at_a_time = asyncio.Lock()
        self._throttle = Throttle(core.limits.password_attempts, core.limits.password_window_seconds)
        for permit in core.permits.unreviewed():
            kind: Literal["break-glass", "break-glass-in-a-fault"]
            kind = "break-glass-in-a-fault" if permit.emergency else "break-glass"
            core.alarms.sound(p.Alarm(kind, permit.occurred_at, permit.number))

    # --- breaking ---------------------------------------------------------------------------------------

    async def ask(self, actor: Actor, request: p.BreakGlass) -> p.GlassBroken:
        """Open one study or patient. Raises GuardRefused, its entry durable where the log can take it."""
        core = self._core
        if bool(request.study_instance_uid) == bool(request.patient) or not fits(request.note):
            raise GuardRefused("invalid")
        self._throttle.check(actor.subject.hex(), core.clock())
        try:
            check_treating(actor)
            async with self._one_at_a_time:
                return await self._answer(actor, request)
        except Denied as denied:
            raise await self._refuse(actor, request, denied) from denied

    async def _answer(self, actor: Actor, request: p.BreakGlass) -> p.GlassBroken:
        """In order where log and ledger answer, else in a fault (rule 6). Nothing is looked up before the factor."""
        core, proved = self._core, False
        if not fault(core):
            try:
                await self._prove(request)
                proved = bool(request.code)
                target = self._find(request)
                check_overridable(ask_about(core, actor, target.resources, "ETREAT"))
                return self._held(actor, target) or await self._break(actor, request, target)
            except GuardUnavailable:
                pass
            except (Denied, GuardRefused) as no:
                if no.reason != "unavailable":
                    raise
        counter = 0 if proved else self.in_a_fault.prove(request)
        target = self._find(request)
        check_overridable(last_known(core, actor, target.resources))
        held = self._held(actor, target)
        if held is not None:
            return held
        row = dict(self._row(actor, request, target), emergency=1)
        return await self.in_a_fault.keep(actor, row, counter)

    async def _prove(self, request: p.BreakGlass) -> None:
        """Rule 1: the second factor is fresh, or becomes so by the code."""
        core = self._core
        if request.code:
            await self._accounts.step_up(p.StepUp(request.principal, request.code))
        now = core.clock_watch.trusted()
        if now >= core.people.visitor(request.principal, now).second_factor_until:
            raise Denied("second_factor_needed", "second-factor-needed")

    def _find(self, request: p.BreakGlass) -> Target:
        """Raises Denied: what does not exist, and what is closed for destruction, is answered as a legal block is."""
        core = self._core
        if request.patient:
            return self._find_patient(request.patient)
        with core.engine.connect() as connection:
            held = catalogue.hold(core, connection, request.study_instance_uid)
        if held is None:
            raise Denied("not_permitted", "unknown-study")
        if core.closed.closes(held.key_id):
            raise Denied("not_permitted", "closed-for-destruction")
        resource = core.study_resource(held.patient_key, held.uid)
        resources = (core.patient_resource(held.patient_key), resource, core.department(held.department))
        return Target(held.patient_id, held.patient_key, held.key_id, resource, resources)

    def _find_patient(self, written: str) -> Target:
        core = self._core
        identifier, _, issuer = written.partition("|")
        names = p.Attributes("", "", "", "", patient_id=identifier, issuer_of_patient_id=issuer)
        token = catalogue.patient_token(core, names)
        with core.engine.connect() as connection:
            query = sa.select(patient).where(patient.c.id_token == token)
            row = connection.execute(query).mappings().one_or_none() if token is not None else None
        if row is None:
            raise Denied("not_permitted", "unknown-patient")
        core.rows.check(patient, row)
        internal = bytes(row["id"])
        key = core.keyring.key(bytes(row["key_id"]), "patient", catalogue.patient_context(core, internal))
        resource = core.patient_resource(key)
        return Target(internal, key, None, resource, (resource,))

    def _held(self, actor: Actor, target: Target) -> p.GlassBroken | None:
        """What the person has open already."""
        held = self._core.permits.live(actor.identifier, (target.resource,), self._core.clock_watch.trusted())
        return None if held is None else p.GlassBroken(held.number, held.valid_until, -1)

    async def _break(self, actor: Actor, request: p.BreakGlass, target: Target) -> p.GlassBroken:
        row = self._row(actor, request, target)
        index = await self.record(actor.evidence, row, actor.subject, lambda _: None)
        self._core.alarms.sound(p.Alarm("break-glass", row["occurred_at"], int(row["number"])))
        return p.GlassBroken(int(row["number"]), float(row["valid_until"]), index)

    def _row(self, actor: Actor, request: p.BreakGlass, target: Target) -> Row:
        """Raises Denied('too_many') (rule 4)."""
        core, now = self._core, self._core.clock_watch.trusted()
        if core.permits.of_last_day(actor.identifier, now) >= core.limits.break_glass_per_day:
            raise Denied("too_many", "too-many-today")
        identifier = os.urandom(_ID_BYTES)
        context = column_context("break_glass", "note", identifier)
        note = seal_column(target.patient_key, context, request.note.encode()) if request.note else None
        return {
            "id": identifier,
            "number": -1,
            "person_id": actor.identifier,
            "patient_id": target.patient,
            "study_key_id": target.study,
            "resource": target.resource,
            "reason": request.reason,
            "note": note,
            "occurred_at": now,
            "valid_until": now + core.limits.break_glass_seconds,
            "ended_at": 0.0,
            "emergency": 0,
            "verdict": "",
            "reviewed_by": None,
            "reviewed_at": 0.0,
        }

    async def hand_over(self) -> None:
        """Records of the emergency journal to log and ledger, when both answer again."""
        await self.in_a_fault.hand_over(self.record)

    async def record(
        self, evidence: events.Actor, row: Row, subject: bytes, besides: Callable[[Transaction], None]
    ) -> int:
        """Transaction, row, entry and what stands `besides`, durable together (rule 3); the entry's number.

        Fills in the row's number.
        """
        core, index = self._core, -1

        def event(prepared: Prepared) -> events.Event:
            return events.BreakGlass(
                actor=evidence,
                permit=row["id"],
                number=prepared.outcome,
                study=row["study_key_id"],
                patient=row["patient_id"],
                reason=row["reason"],
                valid_until_ms=int(row["valid_until"] * 1000),
                transaction=prepared.transaction,
                note=row["note"] or b"",
                emergency=bool(row["emergency"]),
            )

        def write(tx: Transaction, prepared: Prepared) -> None:
            nonlocal index
            index = tx.newest
            row["number"] = prepared.outcome
            core.rows.insert(tx.connection, break_glass, row)
            besides(tx)

        begin = min(
            int(row["occurred_at"]), int(core.clock_watch.trusted())
        )  # the clock may have been accepted
        until = max(int(row["valid_until"]), begin + 1)
        await self._rights.change(
            calls.break_glass(subject, row["resource"], begin, until), event, write, lambda: self._learn(row)
        )
        return index

    def _learn(self, row: Row) -> None:
        core = self._core
        with core.engine.connect() as connection:
            stored = sa.select(break_glass).where(break_glass.c.id == row["id"])
            core.permits.take(connection.execute(stored).mappings().one())

    async def _refuse(self, actor: Actor, request: p.BreakGlass, denied: Denied) -> GuardRefused:
        core, now = self._core, self._core.clock()
        if denied.cause != "second-factor-needed":  # an honest omission: an entry, no alarm
            self._throttle.failed(actor.subject.hex(), now)
            word: Literal["break-glass-too-many", "break-glass-refused"] = "break-glass-refused"
            if denied.reason == "too_many":
                word = "break-glass-too-many"
            core.alarms.sound(p.Alarm(word, core.clock_watch.trusted()))
        target = None
        with contextlib.suppress(Denied, GuardRefused):
            target = self._find(request)
        study, of = (target.study, target.patient) if target is not None else (None, None)
        event = events.BreakGlassRefused(actor.evidence, study, of, denied.cause)
        try:
            return GuardRefused(denied.reason, await core.note(event))
        except GuardUnavailable:
            return GuardRefused(denied.reason)


def check_treating(actor: Actor) -> None:
    """Rule 1: the role. Raises Denied."""
    if actor.visitor is None or not actor.visitor.roles & TREATING_ROLES:
        raise Denied("not_permitted", "role-treats-nobody")


def fits(note: str) -> bool:
    """Whether a note, or a reviewer's comment, is short enough."""
    return len(note) <= MOST_NOTE_CHARACTERS and len(note.encode(errors="replace")) <= MOST_NOTE_BYTES
