"""Broken glass passes suspension, destruction and legal block."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import break_glass, decision


def apply(put: Put) -> None:
    for module in (break_glass, decision):
        put(module, "check_overridable", lambda _verdict: None)
