"""Sessions as their owner and the log see them: the list, their end, and what shows that one was stolen.

Rules, in order:
1. A session that ends, ends in memory first, then durably, and every tab is told.
2. A right secret from another client is refused and written down, once a minute for one address.
3. A superseded secret after its grace ends the session: one of two copies is a thief's (`guard.session_secrets`).
"""

from __future__ import annotations

from collections.abc import Callable

from ribcage.evidence.audit_event import Authentication, PersonActor, SessionAlarm
from ribcage.guard.accounts import Throttle
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.people import SessionMisused
from ribcage.guard.protocol import EndSessions, ListSessions, LogOut, Noted, SessionItem, SessionItems, Told

_TOLD_SECONDS = 60


class OwnSessions:
    """Lists and ends sessions."""

    def __init__(self, core: Core, push: Callable[[Told], None], rights_changed: Callable[[], None]) -> None:
        self._core = core
        self._push = push
        self._rights_changed = rights_changed
        self._told = Throttle(1, _TOLD_SECONDS)

    async def page(self, request: ListSessions) -> SessionItems:
        """The asker's live sessions, newest first."""
        core = self._core
        visitor = core.people.visitor(request.session, core.clock())
        rows = core.people.live_sessions(visitor.person_id, core.clock())
        return SessionItems(
            items=[
                SessionItem(
                    id=bytes(row["id"]),
                    created_at=float(row["created_at"]),
                    used_at=float(row["used_at"]),
                    address=str(row["address"]),
                    this=bytes(row["id"]) == visitor.session_id,
                )
                for row in rows
            ]
        )

    async def log_out(self, request: LogOut) -> Noted:
        """End this session; its disclosures fall with it."""
        core = self._core
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session, core.clock())
        await self._end(visitor.person_id, [visitor.session_id], Authentication(actor.evidence, "logout"))
        return Noted()

    async def end(self, request: EndSessions) -> Noted:
        """End one of the asker's sessions, or all others. Raises GuardRefused('not_found')."""
        core = self._core
        actor = core.actor(request.session)
        visitor = core.people.visitor(request.session, core.clock())
        mine = {bytes(row["id"]) for row in core.people.live_sessions(visitor.person_id, core.clock())}
        if request.id and request.id not in mine:
            raise GuardRefused("not_found")
        chosen = [request.id] if request.id else sorted(mine - {visitor.session_id})
        await self._end(visitor.person_id, chosen, Authentication(actor.evidence, "logout"))
        return Noted()

    async def misused(self, misuse: SessionMisused) -> int:
        """What a misused secret brings about; the number of its entry, -1 where it was told a moment ago."""
        core, now = self._core, self._core.clock()
        ended = misuse.how == "superseded-secret"
        event = SessionAlarm(PersonActor(misuse.person_id, misuse.address), misuse.how, ended)
        if ended:
            return await self._end(misuse.person_id, [misuse.session_id], event)
        key = f"{misuse.session_id.hex()}@{misuse.address}"
        try:
            self._told.check(key, now)
        except GuardRefused:
            return -1
        self._told.failed(key, now)
        return await core.note(event)

    def ended(self, person_id: bytes) -> None:
        """All sessions of a person who was suspended: tell their tabs."""
        for session_id in self._core.people.sessions_of(person_id):
            self._push(Told(session_id, "session-ended"))

    async def _end(
        self, person_id: bytes, session_ids: list[bytes], event: Authentication | SessionAlarm
    ) -> int:
        core = self._core
        for each in session_ids:
            core.people.end_now(each)

        def write(tx: Transaction) -> int:
            for each in session_ids:
                core.people.end_session(tx, each)
            return tx.append(core.entry(event))

        try:
            return await core.committer.run(write)
        finally:
            with core.engine.connect() as connection:
                core.people.refresh(connection, person_id)
            self._rights_changed()
            for each in session_ids:
                self._push(Told(each, "session-ended"))
