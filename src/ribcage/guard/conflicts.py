"""Parked instances: a person looks at one, or two persons destroy it (docs/adr/0002).

Rules, in order:
1. Who looks proves themselves, and the entry is durable before the answer. The peer that sent it learns nothing.
2. Discarding is destruction: two persons, the key destroyed with its epoch and asked for afterwards, then the file,
   then row and entry in one commit. A crash in between is finished by asking again: the row is still there.
3. What was sealed under its study's own key (it came late) is destroyed with that study, and not before.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import parked
from ribcage.evidence.audit_event import ConflictChange, ConflictResolved, PersonActor
from ribcage.guard import catalogue, erasure
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.keyring import KeyKind


class Conflicts:
    """Shows and discards."""

    def __init__(self, core: Core, approvals: Approvals) -> None:
        self._core = core
        self._approvals = approvals
        self._one_at_a_time = asyncio.Lock()

    async def show(self, _: Actor, request: p.ShowConflict) -> p.ConflictShown:
        """What the parked instance says of itself. Raises GuardRefused('not_found' | 'unavailable')."""
        core, by = self._core, await self._approvals.verify(request.by)
        row = self._row(request.ordinal)
        try:
            key = core.keyring.key(bytes(row["key_id"]), *self._owner(row))
            context = column_context("parked", "sealed", bytes(row["object_id"]))
            said = msgspec.json.decode(open_column(key, context, bytes(row["sealed"])), type=p.Attributes)
        except CryptoError as failure:
            raise GuardRefused("unavailable") from failure
        await core.note(self._event(by, row, "shown"))
        return p.ConflictShown(request.ordinal, str(row["reason"]), float(row["received_at"]), said)

    async def discard(self, _: Actor, request: p.DiscardConflict) -> p.Noted:
        """Rule 2. Raises GuardRefused('not_found' | 'conflict' | 'unavailable')."""
        core, by = self._core, await self._approvals.verify(request.by)
        second = await self._approvals.verify(request.second, not_also=by.person)
        async with self._one_at_a_time:
            row = self._row(request.ordinal)
            if self._owner(row)[0] != "parked":
                raise GuardRefused("conflict")
            core.clock_watch.check()
            await asyncio.to_thread(self._destroy, bytes(row["key_id"]), str(row["location"]))

            def write(tx: Transaction) -> None:
                tx.connection.execute(sa.delete(parked).where(parked.c.pk == row["pk"]))
                core.append(tx, self._event(second, row, "discarded"))

            await core.committer.run(write)
        return p.Noted()

    def _destroy(self, key_id: bytes, location: str) -> None:
        """Blocking: the key, then the file. Raises GuardRefused."""
        erasure.destroy_keys(self._core.keyring, [key_id])
        erasure.unlink(Path(self._core.objects_root), [location])

    def _owner(self, row: sa.RowMapping) -> tuple[KeyKind, bytes]:
        context = bytes(row["key_context"])
        own = context == catalogue.parked_context(self._core, bytes(row["object_id"]))
        return ("parked" if own else "study"), context

    def _row(self, ordinal: int) -> sa.RowMapping:
        with self._core.engine.connect() as connection:
            row = connection.execute(sa.select(parked).where(parked.c.pk == ordinal)).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_found")
        return row

    @staticmethod
    def _event(by: PersonActor, row: sa.RowMapping, change: ConflictChange) -> ConflictResolved:
        return ConflictResolved(by, bytes(row["object_id"]), change, int(row["log_index"]))
