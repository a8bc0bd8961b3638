"""Everybody who is somebody may read the guard's numbers."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import observation


def apply(put: Put) -> None:
    put(observation, "may_observe", lambda _actor: True)
