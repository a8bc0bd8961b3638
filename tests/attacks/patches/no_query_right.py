"""Every registered device may query."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import query
from ribcage.guard.query import Queries


def apply(put: Put) -> None:
    strict = query.decide

    def decide(core, actor, study, want, purpose, _right):  # type: ignore[no-untyped-def]  # as the original
        return strict(core, actor, study, want, purpose, "store")

    async def everybody(*_: object) -> None:
        return None

    put(Queries, "_check_right", everybody)
    put(query, "decide", decide)
