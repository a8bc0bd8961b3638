"""Whoever has a session administrates."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.administrators import Administrators


def apply(put: Put) -> None:
    put(Administrators, "_check", lambda _self, _actor, _request: None)
