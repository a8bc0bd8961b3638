"""A relation is known by its number alone, whichever certificate told of it."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import care_told


def apply(put: Put) -> None:
    strict = care_told.joined
    put(care_told, "joined", lambda _device, *parts: strict(*parts))
