"""De-identification keeps what the table does not name."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.usage.deid.plan import Do, Plan, Step


def apply(put: Put) -> None:
    def unlisted(_: Plan, _parent: int, _tag: int, vr: str, _kind: int) -> Step:
        return Step(Do.KEEP, Do.KEEP, vr, "patched")

    put(Plan, "_unlisted", unlisted)
