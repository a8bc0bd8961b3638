"""Logging in, stepping up, logging out; throttled by name and address together, every attempt in the log.

A name alone is never throttled: whoever wants to keep somebody out would only have to guess.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ribcage.evidence.audit_event import Authentication, PersonActor, StrangerActor
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.people import Visitor
from ribcage.guard.protocol import LoggedIn, LogIn, Notice, Person, StepUp, Told, WhoAmI

_REMEMBERED = 10_000
_FEW_CODES = 3


class Throttle:
    """At most `attempts` failures in `seconds` for one key; memory is bounded."""

    def __init__(self, attempts: int, seconds: int) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self._failures: dict[str, deque[float]] = {}

    def check(self, key: str, now: float) -> None:
        """Raises GuardRefused('throttled'), and for how long, while `key` has too many failures behind it."""
        failures = self._failures.get(key)
        if failures is None:
            return
        while failures and failures[0] <= now - self._seconds:
            failures.popleft()
        if not failures:
            del self._failures[key]
        elif self._is_full(failures):
            raise GuardRefused("throttled", retry_seconds=failures[0] + self._seconds - now)

    def failed(self, key: str, now: float) -> None:
        """Count one failure."""
        if len(self._failures) >= _REMEMBERED and key not in self._failures:
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(key, deque(maxlen=self._attempts)).append(now)

    def standing(self, now: float) -> list[tuple[str, float]]:
        """Keys that are refused at `now`, each with the time until then."""
        full = ((key, each[0] + self._seconds) for key, each in self._failures.items() if self._is_full(each))
        return [(key, until) for key, until in full if until > now]

    def _is_full(self, failures: deque[float]) -> bool:
        return len(failures) >= self._attempts

    def succeeded(self, key: str) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)


class Accounts:
    """The routes of people into the archive."""

    def __init__(self, core: Core, push: Callable[[Told], None]) -> None:
        limits = core.limits
        self._core = core
        self._push = push
        self.throttle = Throttle(limits.password_attempts, limits.password_window_seconds)

    async def log_in(self, request: LogIn) -> LoggedIn:
        """A session of assurance 1. Raises GuardRefused('not_authenticated' | 'throttled')."""
        core, now = self._core, self._core.clock()
        key = f"name:{request.username}@{request.address}"
        self.throttle.check(key, now)
        person_id = await asyncio.to_thread(core.people.check_password, request.username, request.password)
        if person_id is None:
            self.throttle.failed(key, now)
            event = Authentication(StrangerActor(request.address), "login", "wrong-name-or-password")
            index = await core.note(event)
            raise GuardRefused("not_authenticated", index)
        self.throttle.succeeded(key)
        actor = PersonActor(person_id, request.address)

        def write(tx: Transaction) -> tuple[bytes, float]:
            tx.append(core.entry(Authentication(actor, "login")))
            return core.people.open_session(tx, person_id, now, (request.address, request.client))

        proof, expires_at = await core.committer.run(write)
        self.refresh(person_id)
        return LoggedIn(proof=proof, expires_at=expires_at)

    async def step_up(self, request: StepUp) -> Person:
        """The second factor. Raises GuardRefused('not_authenticated' | 'throttled')."""
        core, now = self._core, self._core.clock()
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session, now)
        key = f"factor:{visitor.person_id.hex()}@{request.session.address}"
        self.throttle.check(key, now)

        def write(tx: Transaction) -> bytes:
            if request.kind == "recovery":
                core.people.factors.use_recovery(tx, visitor.person_id, request.code)
            else:
                core.people.factors.use_code(tx, visitor.person_id, request.code, now)
            tx.append(core.entry(Authentication(actor.evidence, "step-up", factor=request.kind)))
            return core.people.proved(tx, visitor, request.kind, now)

        try:
            proof = await core.committer.run(write)
        except GuardRefused as refused:
            self.throttle.failed(key, now)
            event = Authentication(actor.evidence, "step-up", "wrong-or-used-code", request.kind)
            index = await core.note(event)
            raise GuardRefused(refused.reason, index) from refused
        self.throttle.succeeded(key)
        return self.stepped_up(visitor, proof)

    def stepped_up(self, visitor: Visitor, proof: bytes) -> Person:
        """After a second factor is durable: memory, the other tabs, and the answer."""
        core = self._core
        self.refresh(visitor.person_id)
        again = core.people.revisit(visitor, core.clock())
        self._push(Told(visitor.session_id, "assurance", until=again.second_factor_until))
        return self._describe(again, proof)

    async def who(self, request: WhoAmI) -> Person:
        """Describe the session to itself; issue its next secret where that is asked for and due."""
        core, now = self._core, self._core.clock()
        visitor = core.people.visitor(request.session, now)
        if not request.rotate or not core.people.rotation_due(visitor, now):
            return self._describe(visitor)
        proof = await core.committer.run(lambda tx: core.people.rotate(tx, visitor, now))
        self.refresh(visitor.person_id)
        return self._describe(visitor, proof)

    def _describe(self, visitor: Visitor, proof: bytes = b"") -> Person:
        factors, now = self._core.people.factors, self._core.clock()
        left = factors.codes_left(visitor.person_id)
        notices: list[Notice] = ["recovery_code_used"] if visitor.second_factor == "recovery" else []
        if factors.has_codes(visitor.person_id) and left < _FEW_CODES:
            notices.append("few_recovery_codes")
        return Person(
            username=visitor.username,
            display_name=visitor.display_name,
            roles=sorted(visitor.roles),
            assurance=visitor.assurance(now),
            second_factor_until=visitor.second_factor_until,
            expires_at=visitor.expires_at,
            second_factor=visitor.second_factor,
            totp=factors.has_totp(visitor.person_id),
            passkeys=len(factors.passkeys(visitor.person_id)),
            recovery_codes=left,
            notices=notices,
            hospital=self._core.hospital_name,
            proof=proof,
        )

    def refresh(self, person_id: bytes) -> None:
        """Take the person's committed rows into memory."""
        with self._core.engine.connect() as connection:
            self._core.people.refresh(connection, person_id)
