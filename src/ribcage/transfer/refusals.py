"""Refusals that a front sees alone, counted per minute, cause and address, then reported to the guard.

The table is bounded: beyond `_MOST` addresses further ones are counted together under "other".
"""

from __future__ import annotations

import asyncio
from collections import Counter

from ribcage.guard.errors import GuardError
from ribcage.guard.protocol import Noted, Refusal, RefusalKind
from ribcage.storage.ports import Guard
from ribcage.transfer.limits import Listener

_MOST = 512


class Refusals:
    """Counts, and reports what it counted. One per front."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._counts: Counter[tuple[RefusalKind, Listener, str]] = Counter()

    def note(self, kind: RefusalKind, listener: Listener, address: str) -> None:
        """Count one refusal of a peer at `address` (an IP address without port)."""
        key = (kind, listener, address)
        if key not in self._counts and len(self._counts) >= _MOST:
            key = (kind, listener, "other")
        self._counts[key] += 1

    async def report(self) -> None:
        """Send what was counted; what the guard did not take is kept for the next time."""
        counted, self._counts = self._counts, Counter()
        for (kind, listener, address), count in counted.items():
            try:
                await self._guard.call(Refusal(kind, listener, address, count), Noted)
            except GuardError:
                self._counts[(kind, listener, address)] += count

    async def run(self, every_seconds: float) -> None:
        """Report for ever, first after one second so that the first refusal is seen soon."""
        await asyncio.sleep(min(1.0, every_seconds))
        while True:
            await self.report()
            await asyncio.sleep(every_seconds)
