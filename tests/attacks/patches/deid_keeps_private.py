"""De-identification keeps private attributes as they are."""

from __future__ import annotations

from typing import Any

from attacks.patches._put import Put
from ribcage.usage.deid import walker
from ribcage.usage.deid.plan import Do, Plan, Step


def apply(put: Put) -> None:
    real, handling = Plan._decide, walker.Handling

    def decide(plan: Plan, parent: int, tag: int) -> Step:
        if tag >> 16 & 1:
            return Step(Do.PRIVATE, Do.REMOVE, "UN", "patched")
        return real(plan, parent, tag)

    def private(*_: Any) -> walker.Answer:
        return walker.KEEP

    put(Plan, "_decide", decide)
    from ribcage.usage.deid import engine

    put(engine, "HANDLING", handling(engine.HANDLING.handlers, engine.HANDLING.coded, private))
