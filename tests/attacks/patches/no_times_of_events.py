"""What arrives last has happened last."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import care_rows
from ribcage.guard.care_plan import Standing


def apply(put: Put) -> None:
    strict = care_rows.after

    def after(held: Standing, event: str, at: float) -> tuple[Standing, bool]:
        return strict(held._replace(state_at=0.0, facts_at=0.0, state_by=""), event, at)

    put(care_rows, "after", after)
