"""Two persons: what one administrator alone must not do (DESIGN, lawful restore; NIST SP 800-88, destruction).

Rules, in order:
1. An approver proves password and one-time code each time; a code works once (RFC 6238 5.2). Failures are throttled
   and audited like any log-in.
2. Only unsuspended administrators and officers approve.
3. The second person is another one: who asked does not approve.
4. A person in a session of their own stands for themselves, while its second factor is fresh.
"""

from __future__ import annotations

import asyncio

from ribcage.evidence.audit_event import Authentication, PersonActor, StrangerActor
from ribcage.guard.accounts import Throttle
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import Approver

APPROVING_ROLES = frozenset({"administrator", "officer"})
_FRESH = 2
_ADDRESS = "127.0.0.1"  # approvals come through the operator's own socket


class Approvals:
    """Verifies approvers."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._throttle = Throttle(core.limits.password_attempts, core.limits.password_window_seconds)

    async def verify(self, by: Approver, not_also: bytes | None = None) -> PersonActor:
        """The person who approves. `not_also`: the person id of who asked.

        Raises GuardRefused('not_authenticated' | 'not_permitted' | 'throttled').
        """
        core, now = self._core, self._core.clock()
        key = f"name:{by.username}"
        self._throttle.check(key, now)
        person_id = await asyncio.to_thread(core.people.check_password, by.username, by.password)
        if person_id is None:
            await self._failed(key, StrangerActor(_ADDRESS), "wrong-name-or-password")
            raise GuardRefused("not_authenticated")
        actor = PersonActor(person_id, _ADDRESS, 2)

        def use(tx: Transaction) -> None:
            core.people.factors.use_code(tx, person_id, by.code, now)
            tx.append(core.entry(Authentication(actor, "step-up")))

        try:
            await core.committer.run(use)
        except GuardRefused:
            await self._failed(key, actor, "wrong-or-used-code")
            raise
        finally:
            with core.engine.connect() as connection:
                core.people.refresh(connection, person_id)
        self._throttle.succeeded(key)
        check_other(person_id, frozenset(str(core.people.find(by.username)["roles"]).split()), not_also)
        return actor

    async def who(self, actor: Actor, by: Approver | None, not_also: bytes) -> PersonActor:
        """Who judges: `by`, else the person whose session asks (rule 4). Raises GuardRefused."""
        if by is not None:
            return await self.verify(by, not_also)
        visitor, now = actor.visitor, self._core.clock_watch.trusted()
        if visitor is None:
            raise GuardRefused("not_authenticated")
        if visitor.assurance(now) < _FRESH:
            raise GuardRefused("second_factor_needed")
        check_other(visitor.person_id, visitor.roles, not_also)
        return PersonActor(visitor.person_id, actor.address, _FRESH)

    async def _failed(self, key: str, actor: PersonActor | StrangerActor, reason: str) -> None:
        core = self._core
        self._throttle.failed(key, core.clock())
        event = Authentication(actor, "step-up", reason)
        await core.note(event)


def check_other(person_id: bytes, roles: frozenset[str], not_also: bytes | None) -> None:
    """Rules 2 and 3. Raises GuardRefused('not_permitted')."""
    if person_id == not_also or not roles & APPROVING_ROLES:
        raise GuardRefused("not_permitted")
