"""Every registered device is the hospital's system."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import care


def apply(put: Put) -> None:
    put(care, "may_tell", lambda actor: actor.device is not None)
