"""A person who lost all second factors: two administrators, a code handed over, a new enrolment.

Rules, in order:
1. One administrator asks, another one approves, neither for himself; the asking lapses after a day.
2. The approval removes every factor and ends every session of the person, durable with its entry, and gives a code of
   80 bits, shown this once; its hash is kept, sealed.
3. The code enrols a one-time password in a session that the person's own password opened. It works once, for
   `factor_reset_hours`, and dies after five wrong tries; wrong ones are throttled and written down.
4. The code is no factor: it raises no session's assurance.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

import msgspec

from ribcage.evidence.audit_event import PersonActor, PersonChanged
from ribcage.guard.accounts import Throttle
from ribcage.guard.approvals import Approvals
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.factors import code_hash, new_code
from ribcage.guard.protocol import (
    ApproveFactorReset,
    Approver,
    AskFactorReset,
    EnrolFactor,
    FactorEnrolled,
    FactorResetCode,
    Noted,
    Told,
)

_HOUR = 3600
_ASKED_SECONDS = 24 * _HOUR
_TRIES = 5
_ALL = ("totp", "passkey", "recovery", "reset-asked", "reset")


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed of an asking. `until` in Unix seconds."""

    by: bytes
    until: float


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed of a code: SHA-256 of it. `until` in Unix seconds."""

    sha256: bytes
    until: float


class FactorResets:
    """Asks, approves and enrols."""

    def __init__(
        self,
        core: Core,
        approvals: Approvals,
        push: Callable[[Told], None],
        rights_changed: Callable[[], None],
    ) -> None:
        self._core = core
        self._approvals = approvals
        self._push = push
        self._rights_changed = rights_changed
        limits = core.limits
        self.throttle = Throttle(limits.password_attempts, limits.password_window_seconds)

    async def ask(self, actor: Actor, request: AskFactorReset) -> Noted:
        """First administrator. Raises GuardRefused('not_found' and what `Approvals` raises)."""
        core = self._core
        person_id = bytes(core.people.find(request.username)["id"])
        by = await self._administrator(actor, request.by, not_also=person_id)
        asked = Asked(by.person, core.clock_watch.trusted() + _ASKED_SECONDS)

        def write(tx: Transaction) -> None:
            core.people.factors.keep(tx, person_id, "reset-asked", msgspec.json.encode(asked))
            tx.append(core.entry(PersonChanged(by, person_id, "reset-asked")))

        await core.committer.run(write)
        self._refresh(person_id)
        return Noted()

    async def approve(self, actor: Actor, request: ApproveFactorReset) -> FactorResetCode:
        """Another one. Raises GuardRefused('not_found' | 'not_permitted' and what `Approvals` raises)."""
        core = self._core
        person_id = bytes(core.people.find(request.username)["id"])
        asked = asked_of(core, person_id)
        if asked is None:
            raise GuardRefused("not_found")
        by = await self._administrator(actor, request.by, not_also=asked.by)
        if by.person == person_id:
            raise GuardRefused("not_permitted")
        code = new_code()
        until = core.clock_watch.trusted() + core.limits.factor_reset_hours * _HOUR
        kept = msgspec.json.encode(Code(code_hash(code), until))
        sessions = core.people.sessions_of(person_id)

        def write(tx: Transaction) -> None:
            factors = core.people.factors
            if msgspec.json.decode(factors.kept(tx, person_id, "reset-asked")[0], type=Asked) != asked:
                raise GuardRefused("conflict")
            factors.remove_all(tx, person_id, _ALL)
            factors.keep(tx, person_id, "reset", kept)
            for each in sessions:
                core.people.end_session(tx, each)
            tx.append(core.entry(PersonChanged(by, person_id, "reset-approved")))

        for each in sessions:
            core.people.end_now(each)
        try:
            await core.committer.run(write)
        finally:
            self._refresh(person_id)
            self._rights_changed()
            for each in sessions:
                self._push(Told(each, "session-ended"))
        return FactorResetCode(code, until)

    async def enrol(self, request: EnrolFactor) -> FactorEnrolled:
        """The person, with the code. Raises GuardRefused('not_authenticated' | 'throttled')."""
        core, now = self._core, self._core.clock()
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session, now)
        key = f"reset:{visitor.person_id.hex()}@{request.session.address}"
        self.throttle.check(key, now)

        def write(tx: Transaction) -> str:
            factors, person_id = core.people.factors, visitor.person_id
            try:
                self._use(tx, person_id, request.code)
            except GuardRefused:
                factors.count_try(tx, person_id, "reset")
                tx.append(core.entry(PersonChanged(actor.evidence, person_id, "reset-refused")))
                return ""
            tx.append(core.entry(PersonChanged(actor.evidence, person_id, "reset-enrolled")))
            return factors.add_totp(tx, person_id, visitor.username)

        uri = await core.committer.run(write)
        self._refresh(visitor.person_id)
        if not uri:
            self.throttle.failed(key, now)
            raise GuardRefused("not_authenticated")
        self.throttle.succeeded(key)
        return FactorEnrolled(uri)

    def _use(self, tx: Transaction, person_id: bytes, code: str) -> None:
        """Rule 3. Raises GuardRefused."""
        factors = self._core.people.factors
        secret, tries = factors.kept(tx, person_id, "reset")
        kept = msgspec.json.decode(secret, type=Code)
        if tries >= _TRIES or self._core.clock_watch.trusted() >= kept.until:
            raise GuardRefused("not_authenticated")
        if not hmac.compare_digest(kept.sha256, code_hash(code)):
            raise GuardRefused("not_authenticated")
        factors.remove_all(tx, person_id, ("reset",))

    async def _administrator(self, actor: Actor, by: Approver | None, not_also: bytes) -> PersonActor:
        """Rule 1. Raises GuardRefused."""
        who = await self._approvals.who(actor, by, not_also)
        row = self._core.people.get(who.person)
        if row is None or "administrator" not in str(row["roles"]).split():
            raise GuardRefused("not_permitted")
        return who

    def _refresh(self, person_id: bytes) -> None:
        with self._core.engine.connect() as connection:
            self._core.people.refresh(connection, person_id)


def asked_of(core: Core, person_id: bytes) -> Asked | None:
    """The asking that stands for a person, None where there is none or it has lapsed."""
    held = core.people.factors.held(person_id, "reset-asked")
    asked = msgspec.json.decode(held, type=Asked) if held else None
    return asked if asked is not None and core.clock_watch.trusted() < asked.until else None
