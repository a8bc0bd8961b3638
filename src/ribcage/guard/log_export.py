"""The log's public bytes, page by page, for whoever keeps them outside; with openings for an auditor.

Rules, in order:
1. Leaf data tells nothing of an entry without its salt: its pages leave under the one entry of `begin`.
2. An opening tells the whole entry: each page of them has an entry of its own (PS3.15 A.5.3.2).
3. What the reader knows already is proven to be the beginning of what he gets (RFC 9162 2.1.4).
"""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import log_leaf
from ribcage.evidence.audit_event import AuditLogUsed
from ribcage.guard.admin import sign_checkpoint
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.log import ABSENT_LEAF, newest_checkpoint
from ribcage.guard.protocol import BeginExport, ExportBegun, ExportedLeaves, ExportPage

_NO_OPENING = (b"", b"")


class LogExport:
    """Answers `ribcage audit export`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def begin(self, actor: Actor, request: BeginExport) -> ExportBegun:
        """The newest checkpoint and how it continues `known_size`. Raises GuardRefused('invalid' | 'unavailable')."""
        if request.known_size < 0:
            raise GuardRefused("invalid")
        await self._note(actor, request.known_size, max(self._core.log.size - request.known_size, 0))
        await sign_checkpoint(self._core)
        return await asyncio.to_thread(self._begun, request.known_size)

    def _begun(self, known: int) -> ExportBegun:
        log = self._core.log
        with self._core.engine.connect() as connection:
            newest = newest_checkpoint(connection)
            if newest is None:
                raise GuardRefused("unavailable")
            size, note = newest
            path = log.prove_consistency(connection, known, size) if known <= size else []
        return ExportBegun(checkpoint=note, path=path, verifier_key=log.epochs.verifier_key(size))

    async def page(self, actor: Actor, request: ExportPage) -> ExportedLeaves:
        """Leaves from `start` on, fewer than asked for at the end or at the limit. Raises GuardRefused('invalid')."""
        if request.start < 0 or request.count < 1:
            raise GuardRefused("invalid")
        limits = self._core.limits
        most = limits.audit_page_entries if request.opened else limits.export_page_leaves
        count = min(request.count, most)
        if request.opened:
            await self._note(actor, request.start, count)
        return await asyncio.to_thread(self._page, request.start, count, request.opened)

    def _page(self, start: int, count: int, opened: bool) -> ExportedLeaves:
        end = min(start + count, self._core.log.size)
        leaves, openings = [ABSENT_LEAF] * max(end - start, 0), [_NO_OPENING] * max(end - start, 0)
        inside = (log_leaf.c.number >= start, log_leaf.c.number < end)
        with self._core.engine.connect() as connection:
            for number, data, sealed in connection.execute(
                sa.select(log_leaf.c.number, log_leaf.c.leaf_data, log_leaf.c.sealed).where(*inside)
            ):
                leaves[number - start] = bytes(data)
                if opened:
                    openings[number - start] = self._open(number, bytes(sealed))
        return ExportedLeaves(leaves=leaves, openings=openings if opened else [])

    def _open(self, number: int, sealed: bytes) -> tuple[bytes, bytes]:
        try:
            return self._core.log.open(number, sealed)
        except CryptoError:
            return _NO_OPENING

    async def _note(self, actor: Actor, start: int, count: int) -> None:
        event = AuditLogUsed(actor.evidence, start, count)
        await self._core.note(event)
