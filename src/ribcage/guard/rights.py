"""Changes of rights: one signed transaction on the ledger and one audit entry, durable together.

Rules, in order:
1. One change at a time. It is tried, stored with its entry, and only then given effect.
2. A change that could not be stored is abandoned; nothing happened.
3. Live disclosures are asked again before the change is answered (DESIGN rule 5).
4. The key store keeps a copy of each change before it is answered: it outlives a restored database. Where that
   fails the change is in force and not answered, and no further one is made before the copy is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from ribcage.crypto.columns import column_context, seal_column
from ribcage.crypto.errors import KeyStoreFailure
from ribcage.database.schema import grant_note, ledger_transaction
from ribcage.evidence.audit_event import Actor as Evidence
from ribcage.evidence.audit_event import Event, GrantChanged, ObjectionChanged
from ribcage.guard import catalogue, protocol
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.projects import find_project
from ribcage.guard.protocol import AddGrant, GrantAdded, Noted, RevokeGrant
from ribcage.guard.second_journal import Row
from ribcage.ledger import calls
from ribcage.ledger.client import Prepared
from ribcage.ledger.errors import InvalidCall, LedgerUnavailable, Reverted


@dataclass(frozen=True)
class Terms:
    """A grant to be put on the ledger. `written`: subject and resource as people read them. Unix seconds.

    `cause` is opaque: the token of the message that made it. `said` is what people read of that message.
    """

    subject: bytes
    resource: bytes
    view: protocol.View
    purpose: protocol.Purpose
    begin: int
    until: int
    written: tuple[str, str]
    cause: bytes = b""
    said: str = ""


class Rights:
    """Writes grants, revocations and objections."""

    def __init__(self, core: Core, rights_changed: Callable[[], None]) -> None:
        self._core = core
        self._rights_changed = rights_changed
        self._one_at_a_time = asyncio.Lock()
        self._uncopied: list[Row] = []

    async def change(
        self,
        call: calls.Call,
        event: Callable[[Prepared], Event],
        extra: Callable[[Transaction, Prepared], None],
        stored: Callable[[], None] = lambda: None,
    ) -> Prepared:
        """Store and apply one change. Raises GuardRefused('invalid' | 'unavailable').

        `stored` is called when it is durable and in force, before anybody is asked again.
        """
        core = self._core
        if core.ledger_behind:
            raise GuardRefused("unavailable")  # a new change would hide the missing one
        core.witness.check_not_behind()
        async with self._one_at_a_time:
            await self._copy()
            try:
                prepared = core.ledger.prepare(call, core.clock_watch.trusted())
            except LedgerUnavailable as failure:
                raise GuardRefused("unavailable") from failure
            except (Reverted, InvalidCall) as failure:
                raise GuardRefused("invalid") from failure

            def write(tx: Transaction) -> None:
                row = {"height": prepared.height, "block_time": prepared.block_time, "raw": prepared.raw}
                tx.connection.execute(sa.insert(ledger_transaction), row)
                core.append(tx, event(prepared))
                extra(tx, prepared)

            try:
                await core.committer.run(write)
            except BaseException:
                core.ledger.abandon(prepared)
                raise
            core.ledger.apply(prepared)
            stored()
            self._rights_changed()
            self._uncopied.append((prepared.height, prepared.block_time, prepared.raw))
            await self._copy()
        return prepared

    async def _copy(self) -> None:
        """Keep what the key store's journal lacks, durably (rule 4). Raises GuardRefused('unavailable')."""
        if not self._uncopied:
            return
        try:
            await asyncio.to_thread(self._core.second.append, self._uncopied)
        except KeyStoreFailure as failure:
            raise GuardRefused("unavailable") from failure
        self._uncopied = []

    async def grant(self, actor: Actor, request: AddGrant) -> GrantAdded:
        """Put a grant on the ledger."""
        core, now = self._core, self._core.clock()
        core.witness.check_open()
        core.clock_watch.check()
        subject = self._subject(request.subject)
        resource = self._resource(request.resource)
        begin = int(request.valid_from or now)
        until = int(request.valid_until or now + core.limits.grant_default_seconds)
        if request.view == "none" or until <= begin:
            raise GuardRefused("invalid")
        written = (request.subject, request.resource)
        terms = Terms(subject, resource, request.view, request.purpose, begin, until, written)
        prepared = await self.give(actor.evidence, terms)
        return GrantAdded(grant_id=prepared.outcome, transaction=prepared.transaction)

    async def give(
        self,
        by: Evidence,
        terms: Terms,
        extra: Callable[[Transaction, Prepared], None] = lambda _tx, _prepared: None,
        stored: Callable[[], None] = lambda: None,
    ) -> Prepared:
        """A grant with its note. `extra` writes more rows in the same transaction. Raises GuardRefused."""
        core, until = self._core, terms.until
        purpose, view = calls.Purpose[terms.purpose], calls.View[terms.view.upper()]
        call = calls.add_grant(
            terms.subject, terms.resource, purpose, view, terms.begin, until, terms.cause or calls.NO_NOTE
        )

        def event(prepared: Prepared) -> Event:
            return GrantChanged(
                actor=by,
                grant=prepared.outcome,
                change="added",
                transaction=prepared.transaction,
                subject=terms.subject,
                resource=terms.resource,
                view=terms.view,
                purpose=terms.purpose,
                valid_until_ms=until * 1000,
                cause=terms.cause or None,
            )

        def note(tx: Transaction, prepared: Prepared) -> None:
            said = [terms.said] if terms.said else []
            text = json.dumps([*terms.written, terms.view, terms.purpose, until, *said])
            context = column_context("grant_note", "sealed", prepared.outcome)
            sealed = seal_column(core.keyring.service("log"), context, text.encode())
            tx.connection.execute(sa.insert(grant_note), {"grant_id": prepared.outcome, "sealed": sealed})
            extra(tx, prepared)

        return await self.change(call, event, note, stored)

    async def end(
        self,
        by: Evidence,
        grant_id: int,
        cause: bytes,
        extra: Callable[[Transaction, Prepared], None],
        stored: Callable[[], None],
    ) -> None:
        """End a grant for a cause, a message's token. Raises GuardRefused."""

        def event(prepared: Prepared) -> Event:
            return GrantChanged(by, grant_id, "revoked", prepared.transaction, cause=cause or None)

        await self.change(calls.revoke_grant(grant_id, cause or calls.NO_NOTE), event, extra, stored)

    async def revoke(self, actor: Actor, request: RevokeGrant) -> Noted:
        """End a grant; effective when answered."""

        def event(prepared: Prepared) -> Event:
            return GrantChanged(actor.evidence, request.grant_id, "revoked", prepared.transaction)

        await self.change(calls.revoke_grant(request.grant_id), event, _nothing)
        return Noted()

    async def objection(self, actor: Actor, request: protocol.Object) -> Noted:
        """An explicit objection, or its end."""
        identifier, resource = self._patient(request.patient)
        subject = None if request.subject == "*" else self._subject(request.subject)
        await self.object(actor.evidence, (identifier, resource), subject, request.standing)
        return Noted()

    async def object(
        self, by: Evidence, whose: tuple[bytes, bytes], subject: bytes | None, standing: bool
    ) -> None:
        """The same by identifiers: the patient's internal and ledger one, the subject's, None for everybody."""

        def event(prepared: Prepared) -> Event:
            return ObjectionChanged(by, whose[0], subject, standing, prepared.transaction)

        call = calls.objection(whose[1], calls.EVERYBODY if subject is None else subject, standing)
        await self.change(call, event, _nothing)

    async def suspension(self, subject: bytes, suspended: bool, event: Callable[[bytes], Event]) -> None:
        """Suspend a subject on the ledger, or lift it. `event` takes the transaction's hash."""
        await self.change(
            calls.suspend(subject, suspended), lambda prepared: event(prepared.transaction), _nothing
        )

    # --- names to identifiers ---------------------------------------------------------------------------

    def _subject(self, written: str) -> bytes:
        kind, _, name = written.partition(":")
        if kind == "person":
            return self._core.subject("person", bytes(self._core.people.find(name)["id"]))
        if kind == "device":
            return self._core.subject("device", bytes(self._core.devices.find(name)["id"]))
        if kind == "project":
            return self._core.subject("project", bytes(find_project(self._core, name)["id"]))
        raise GuardRefused("invalid")

    def _resource(self, written: str) -> bytes:
        core = self._core
        kind, _, name = written.partition(":")
        if kind == "department" and name:
            return core.department(name)
        if kind == "patient":
            return self._patient(name)[1]
        if kind == "study":
            with core.engine.connect() as connection:
                held = catalogue.hold(core, connection, name)
            if held is None:
                raise GuardRefused("not_found")
            return core.study_resource(held.patient_key, held.uid)
        raise GuardRefused("invalid")

    def _patient(self, written: str) -> tuple[bytes, bytes]:
        """`(internal id, ledger identifier)` of 'ID' or 'ID|ISSUER'."""
        internal, key = catalogue.find_patient(self._core, written)
        return internal, self._core.patient_resource(key)


def _nothing(_tx: Transaction, _prepared: Prepared) -> None:
    return None
