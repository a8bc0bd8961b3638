"""Passkeys: registration, second factor, log-in. The bytes are read in `guard.webauthn_wire` alone.

Rules, in order:
1. A challenge is drawn here, belongs to one session and use (a log-in's: to one address), works once, and for two
   minutes.
2. Factors are added and removed, and recovery codes made, only while the second factor is fresh: a password alone
   must not make itself a second one.
3. A passkey logs in only with user verification: then it is two factors in one.
4. A passkey whose count went back is refused, and an alarm.
5. Failures are throttled by person and address together, log-ins by address: nobody locks out another.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ribcage.evidence.audit_event import Actor as Evidence
from ribcage.evidence.audit_event import (
    Authentication,
    PersonActor,
    PersonChanged,
    SessionAlarm,
    StrangerActor,
)
from ribcage.guard import protocol as p
from ribcage.guard import webauthn_wire as wire
from ribcage.guard.accounts import Accounts, Throttle
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.factors import HeldPasskey, PasskeyCopied
from ribcage.guard.people import Visitor

_CHALLENGE_BYTES = 32
_CHALLENGES = 4096
_PER_OWNER = 8
_LABEL_CHARS = 64
Use = Literal["register", "step-up", "log-in"]
FactorChange = Literal["passkey-added", "passkey-removed", "recovery-codes-made"]


@dataclass(frozen=True)
class _Asked:
    owner: bytes | str  # session id, or address
    use: Use
    until: float


class Challenges:
    """Challenges that wait for their answer; memory is bounded, for each owner and in all (rule 1)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._asked: dict[bytes, _Asked] = {}

    def draw(self, owner: bytes | str, use: Use, now: float) -> bytes:
        """A new challenge; the owner's oldest falls when there are too many."""
        self._asked = {c: a for c, a in self._asked.items() if now < a.until}
        own = [c for c, a in self._asked.items() if a.owner == owner]
        for each in own[: max(0, len(own) - _PER_OWNER + 1)]:
            del self._asked[each]
        if len(self._asked) >= _CHALLENGES:
            raise GuardRefused("throttled")
        challenge = os.urandom(_CHALLENGE_BYTES)
        self._asked[challenge] = _Asked(owner, use, now + self._seconds)
        return challenge

    def take(self, challenge: bytes, owner: bytes | str, use: Use, now: float) -> None:
        """Use it up. Raises PasskeyRefused when it is not this owner's for this use, or too old."""
        asked = self._asked.pop(challenge, None)
        if asked is None or (asked.owner, asked.use) != (owner, use) or now >= asked.until:
            raise wire.PasskeyRefused

    def newest(self, owner: bytes | str, use: Use) -> bytes:
        """The last one drawn for this owner and use. Raises PasskeyRefused."""
        for challenge, asked in reversed(self._asked.items()):
            if (asked.owner, asked.use) == (owner, use):
                return challenge
        raise wire.PasskeyRefused


class Passkeys:
    """The passkeys and recovery codes of persons."""

    def __init__(self, core: Core, accounts: Accounts) -> None:
        limits = core.limits
        self._core = core
        self._accounts = accounts
        self._challenges = Challenges(limits.passkey_challenge_seconds)
        self.throttle = Throttle(limits.password_attempts, limits.password_window_seconds)
        self._party = wire.RelyingParty(
            limits.web_name, limits.web_port, core.hospital_name, limits.passkey_challenge_seconds
        )

    # --- challenges -------------------------------------------------------------------------------------

    async def begin(self, request: p.BeginPasskey) -> p.PasskeyOptions:
        """Options to register (second factor needed) or to step up."""
        core, now = self._core, self._core.clock()
        visitor = core.people.visitor(request.session, now)
        held = core.people.factors.passkeys(visitor.person_id)
        known = [each.passkey.credential for each in held]
        if request.use == "register":
            self._check_fresh(visitor)
            if len(held) >= core.limits.passkeys_per_person:
                raise GuardRefused("conflict")
            challenge = self._challenges.draw(visitor.session_id, "register", now)
            person = (visitor.person_id, visitor.username, visitor.display_name)
            return p.PasskeyOptions(wire.registration_options(self._party, challenge, person, known))
        if not known:
            raise GuardRefused("not_found")
        challenge = self._challenges.draw(visitor.session_id, "step-up", now)
        return p.PasskeyOptions(wire.assertion_options(self._party, challenge, known, identifies_user=False))

    async def begin_log_in(self, request: p.BeginPasskeyLogIn) -> p.PasskeyOptions:
        """Options to log in; they name nobody, so that nobody learns who has a passkey."""
        challenge = self._challenges.draw(request.address, "log-in", self._core.clock())
        return p.PasskeyOptions(wire.assertion_options(self._party, challenge, (), identifies_user=True))

    # --- assertions -------------------------------------------------------------------------------------

    async def step_up(self, request: p.PasskeyStepUp) -> p.Person:
        """A passkey as second factor. Raises GuardRefused('not_authenticated' | 'throttled')."""
        core, now = self._core, self._core.clock()
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session, now)
        key = f"passkey:{visitor.person_id.hex()}@{request.session.address}"
        self.throttle.check(key, now)

        def write(tx: Transaction, held: HeldPasskey, count: int) -> bytes:
            core.people.factors.use_passkey(tx, held, count, now)
            tx.append(core.entry(Authentication(actor.evidence, "step-up", factor="passkey")))
            return core.people.proved(tx, visitor, "passkey", now)

        try:
            held, assertion = self._assertion(request.credential, visitor.session_id, "step-up")
            if held.person_id != visitor.person_id:
                raise wire.PasskeyRefused
            proof = await core.committer.run(lambda tx: write(tx, held, assertion.sign_count))
        except GuardRefused as refused:
            raise await self._failed(key, actor.evidence, "step-up", refused) from refused
        self.throttle.succeeded(key)
        return self._accounts.stepped_up(visitor, proof)

    async def log_in(self, request: p.PasskeyLogIn) -> p.LoggedIn:
        """A session of assurance 2 (rule 3). Raises GuardRefused('not_authenticated' | 'throttled')."""
        core, now = self._core, self._core.clock()
        key = f"passkey@{request.address}"
        self.throttle.check(key, now)
        known: HeldPasskey | None = None

        def write(tx: Transaction, held: HeldPasskey, count: int) -> tuple[bytes, float]:
            core.people.factors.use_passkey(tx, held, count, now)
            actor = PersonActor(held.person_id, request.address, 2)
            tx.append(core.entry(Authentication(actor, "login", factor="passkey")))
            client = (request.address, request.client)
            return core.people.open_session(tx, held.person_id, now, client, "passkey")

        try:
            held, assertion = self._assertion(request.credential, request.address, "log-in")
            if not core.people.active(held.person_id):
                raise wire.PasskeyRefused
            known = held
            proof, expires_at = await core.committer.run(lambda tx: write(tx, held, assertion.sign_count))
        except GuardRefused as refused:
            who = PersonActor(known.person_id, request.address) if known else StrangerActor(request.address)
            raise await self._failed(key, who, "login", refused) from refused
        self.throttle.succeeded(key)
        self._accounts.refresh(held.person_id)
        return p.LoggedIn(proof=proof, expires_at=expires_at)

    def _assertion(
        self, credential: str, owner: bytes | str, use: Literal["step-up", "log-in"]
    ) -> tuple[HeldPasskey, wire.Assertion]:
        """The passkey behind a verified assertion; its count is not compared yet. Raises GuardRefused."""
        challenge, identifier = wire.challenge_and_id(credential)
        self._challenges.take(challenge, owner, use, self._core.clock())
        held = self._core.people.factors.find_passkey(identifier)
        return held, wire.verify_assertion(
            self._party, challenge, credential, held.passkey.key, identifies_user=use == "log-in"
        )

    async def _failed(
        self,
        key: str,
        who: Evidence,
        step: Literal["login", "step-up"],
        refused: GuardRefused,
    ) -> GuardRefused:
        """Count and write down a failure; what to raise. Rule 4."""
        core = self._core
        self.throttle.failed(key, core.clock())
        if isinstance(refused, PasskeyCopied):
            await core.note(SessionAlarm(who, "passkey-counter-went-back", ended=False))
        index = await core.note(Authentication(who, step, "passkey-refused", "passkey"))
        return GuardRefused(refused.reason, index)

    # --- the person's own factors -----------------------------------------------------------------------

    async def add(self, request: p.AddPasskey) -> p.PasskeyItem:
        """Register a verified passkey. Raises GuardRefused('invalid' | 'conflict' | 'second_factor_needed')."""
        core, now = self._core, self._core.clock()
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session, now)
        self._check_fresh(visitor)
        label, factors = request.label.strip(), core.people.factors
        if not 0 < len(label) <= _LABEL_CHARS or not label.isprintable():
            raise GuardRefused("invalid")
        try:
            challenge = self._challenges.newest(visitor.session_id, "register")
            self._challenges.take(challenge, visitor.session_id, "register", now)
            new = wire.verify_registration(self._party, challenge, request.credential)
        except wire.PasskeyRefused as refused:
            raise GuardRefused("invalid") from refused
        if len(factors.passkeys(visitor.person_id)) >= core.limits.passkeys_per_person:
            raise GuardRefused("conflict")
        if factors.knows(new.credential_id):
            raise GuardRefused("conflict")
        identifier = await self._change(
            actor,
            visitor,
            "passkey-added",
            lambda tx: factors.add_passkey(tx, visitor.person_id, new, label, now),
        )
        return _item(next(each for each in factors.passkeys(visitor.person_id) if each.id == identifier))

    async def page(self, request: p.ListPasskeys) -> p.PasskeyItems:
        """The asker's passkeys."""
        visitor = self._core.people.visitor(request.session, self._core.clock())
        held = self._core.people.factors.passkeys(visitor.person_id)
        return p.PasskeyItems(items=[_item(each) for each in held])

    async def remove(self, request: p.RemovePasskey) -> p.Noted:
        """Remove one. Raises GuardRefused('not_found' | 'second_factor_needed')."""
        core = self._core
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session, core.clock())
        self._check_fresh(visitor)

        def remove(tx: Transaction) -> bytes:
            core.people.factors.remove_passkey(tx, visitor.person_id, request.id)
            return request.id

        await self._change(actor, visitor, "passkey-removed", remove)
        return p.Noted()

    async def make_codes(self, request: p.MakeRecoveryCodes) -> p.RecoveryCodes:
        """Ten new recovery codes. Raises GuardRefused('second_factor_needed')."""
        core = self._core
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session, core.clock())
        self._check_fresh(visitor)
        made: list[str] = []

        def make(tx: Transaction) -> bytes:
            made[:] = core.people.factors.make_codes(tx, visitor.person_id)
            return b""

        await self._change(actor, visitor, "recovery-codes-made", make)
        return p.RecoveryCodes(codes=made)

    async def _change(
        self, actor: Actor, visitor: Visitor, change: FactorChange, work: Callable[[Transaction], bytes]
    ) -> bytes:
        core = self._core

        def write(tx: Transaction) -> bytes:
            tx.append(core.entry(PersonChanged(actor.evidence, visitor.person_id, change)))
            return work(tx)

        answer = await core.committer.run(write)
        self._accounts.refresh(visitor.person_id)
        return answer

    def _check_fresh(self, visitor: Visitor) -> None:
        """Rule 2. Raises GuardRefused('second_factor_needed')."""
        if visitor.assurance(self._core.clock()) < 2:
            raise GuardRefused("second_factor_needed")


def _item(held: HeldPasskey) -> p.PasskeyItem:
    kept = held.passkey
    return p.PasskeyItem(held.id, kept.label, kept.created_at, kept.used_at, kept.user_verified)
