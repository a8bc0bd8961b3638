"""A superseded secret is refused, and nothing follows."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.own_sessions import OwnSessions
from ribcage.guard.people import SessionMisused


def apply(put: Put) -> None:
    async def misused(_self: OwnSessions, _misuse: SessionMisused) -> int:
        return -1

    put(OwnSessions, "misused", misused)
