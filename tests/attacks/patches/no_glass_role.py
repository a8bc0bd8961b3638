"""Every role may break the glass."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import break_glass


def apply(put: Put) -> None:
    put(break_glass, "check_treating", lambda _actor: None)
