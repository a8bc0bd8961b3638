"""Parked instances: a person looks at one, two persons destroy or file it (docs/adr/0002, 0014).

Rules, in order:
1. Who looks proves themselves, and the entry is durable before the answer. The peer that sent it learns nothing.
2. Discarding is destruction: two persons, the key destroyed with its epoch and asked for afterwards, then the file,
   then row and entry in one commit. A crash in between is finished by asking again: the row is still there.
3. Filing needs two persons too (`guard.filing`).
4. What was sealed under its study's own key (it came late) is destroyed with that study, and not before.
"""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import parked
from ribcage.evidence.audit_event import ConflictChange, ConflictResolved, PersonActor
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.filing import Filing, destroy, forget, said_by
from ribcage.guard.objects import owner_of
from ribcage.guard.routing import Routing


class Conflicts:
    """Shows, discards and files."""

    def __init__(self, core: Core, approvals: Approvals, routing: Routing) -> None:
        self._core = core
        self._approvals = approvals
        self._filing = Filing(core, routing)
        self._one_at_a_time = asyncio.Lock()

    async def show(self, _: Actor, request: p.ShowConflict) -> p.ConflictShown:
        """What the parked instance says of itself. Raises GuardRefused('not_found' | 'unavailable')."""
        core, by = self._core, await self._approvals.verify(request.by)
        row = self._row(request.ordinal)
        try:
            said = said_by(core, row)
        except CryptoError as failure:
            raise GuardRefused("unavailable") from failure
        await core.note(self._event(by, row, "shown"))
        return p.ConflictShown(request.ordinal, str(row["reason"]), float(row["received_at"]), said)

    async def file(self, _: Actor, request: p.FileConflict) -> p.ConflictFiled:
        """Rule 3. Raises GuardRefused."""
        by = await self._approvals.verify(request.by)
        second = await self._approvals.verify(request.second, not_also=by.person)
        async with self._one_at_a_time:
            return await self._filing.file(second, self._row(request.ordinal), request)

    async def discard(self, _: Actor, request: p.DiscardConflict) -> p.Noted:
        """Rule 2. Raises GuardRefused('not_found' | 'conflict' | 'unavailable')."""
        core, by = self._core, await self._approvals.verify(request.by)
        second = await self._approvals.verify(request.second, not_also=by.person)
        async with self._one_at_a_time:
            row = self._row(request.ordinal)
            if owner_of(core, row)[0] != "parked":
                raise GuardRefused("conflict")
            core.clock_watch.check()
            await asyncio.to_thread(destroy, core, row)

            def write(tx: Transaction) -> None:
                forget(tx.connection, row)
                core.append(tx, self._event(second, row, "discarded"))

            await core.committer.run(write)
        return p.Noted()

    def _row(self, ordinal: int) -> sa.RowMapping:
        with self._core.engine.connect() as connection:
            row = connection.execute(sa.select(parked).where(parked.c.pk == ordinal)).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_found")
        return row

    @staticmethod
    def _event(by: PersonActor, row: sa.RowMapping, change: ConflictChange) -> ConflictResolved:
        return ConflictResolved(by, bytes(row["object_id"]), change, int(row["log_index"]))
