"""Logging in, stepping up, logging out; throttled by name and by address, every attempt in the log."""

from __future__ import annotations

import asyncio
from collections import deque

from ribcage.evidence.audit_event import Authentication, PersonActor, StrangerActor
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import LoggedIn, LogIn, LogOut, Noted, Person, StepUp, WhoAmI

_REMEMBERED = 10_000


class Throttle:
    """At most `attempts` failures in `seconds` for one key; memory is bounded."""

    def __init__(self, attempts: int, seconds: int) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self._failures: dict[str, deque[float]] = {}

    def check(self, key: str, now: float) -> None:
        """Raises GuardRefused('throttled') while `key` has too many failures behind it."""
        failures = self._failures.get(key)
        if failures is None:
            return
        while failures and failures[0] <= now - self._seconds:
            failures.popleft()
        if not failures:
            del self._failures[key]
        elif len(failures) >= self._attempts:
            raise GuardRefused("throttled")

    def failed(self, key: str, now: float) -> None:
        """Count one failure."""
        if len(self._failures) >= _REMEMBERED and key not in self._failures:
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(key, deque(maxlen=self._attempts)).append(now)

    def succeeded(self, key: str) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)


class Accounts:
    """The routes of people into the archive."""

    def __init__(self, core: Core) -> None:
        limits = core.limits
        self._core = core
        self._throttle = Throttle(limits.password_attempts, limits.password_window_seconds)

    async def log_in(self, request: LogIn) -> LoggedIn:
        """A session of assurance 1. Raises GuardRefused('not_authenticated' | 'throttled')."""
        core, now = self._core, self._core.clock()
        key = f"name:{request.username}@{request.address}"
        self._throttle.check(key, now)
        person_id = await asyncio.to_thread(core.people.check_password, request.username, request.password)
        if person_id is None:
            self._throttle.failed(key, now)
            event = Authentication(StrangerActor(request.address), "login", "wrong-name-or-password")
            index = await core.note(event)
            raise GuardRefused("not_authenticated", index)
        self._throttle.succeeded(key)
        actor = PersonActor(person_id, request.address)

        def write(tx: Transaction) -> tuple[bytes, float]:
            tx.append(core.entry(Authentication(actor, "login")))
            return core.people.open_session(tx, person_id, now)

        proof, expires_at = await core.committer.run(write)
        self._refresh(person_id)
        return LoggedIn(proof=proof, expires_at=expires_at)

    async def step_up(self, request: StepUp) -> Noted:
        """The second factor. Raises GuardRefused('not_authenticated' | 'throttled')."""
        core, now = self._core, self._core.clock()
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session.proof, now)
        key = f"factor:{visitor.person_id.hex()}@{request.session.address}"
        self._throttle.check(key, now)

        def write(tx: Transaction) -> None:
            core.people.step_up(tx, visitor, request.code, now)
            tx.append(core.entry(Authentication(actor.evidence, "step-up")))

        try:
            await core.committer.run(write)
        except GuardRefused as refused:
            self._throttle.failed(key, now)
            event = Authentication(actor.evidence, "step-up", "wrong-or-used-code")
            index = await core.note(event)
            raise GuardRefused(refused.reason, index) from refused
        self._throttle.succeeded(key)
        self._refresh(visitor.person_id)
        return Noted()

    async def log_out(self, request: LogOut) -> Noted:
        """End the session; its disclosures fall with it."""
        core = self._core
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session.proof, core.clock())

        def write(tx: Transaction) -> None:
            core.people.end_session(tx, visitor)
            tx.append(core.entry(Authentication(actor.evidence, "logout")))

        await core.committer.run(write)
        self._refresh(visitor.person_id)
        return Noted()

    def who(self, request: WhoAmI) -> Person:
        """Describe the session to itself."""
        now = self._core.clock()
        visitor = self._core.people.visitor(request.session.proof, now)
        return Person(
            username=visitor.username,
            display_name=visitor.display_name,
            roles=sorted(visitor.roles),
            assurance=visitor.assurance(now),
            second_factor_until=visitor.second_factor_until,
            expires_at=visitor.expires_at,
        )

    def _refresh(self, person_id: bytes) -> None:
        with self._core.engine.connect() as connection:
            self._core.people.refresh(connection, person_id)
