"""Whoever sees a study masked may save in any patient's name."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import derivation


def apply(put: Put) -> None:
    put(derivation, "_check_named", lambda *_, **__: None)
