"""Pixels that nobody has checked for text go to every role."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import decision


def apply(put: Put) -> None:
    put(decision, "_check_treating", lambda *_: None)
