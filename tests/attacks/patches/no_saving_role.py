"""Every role saves."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import derivation


def apply(put: Put) -> None:
    put(derivation, "_check_role", lambda *_: None)
