"""De-identification passes compressed frames as they are."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.usage.deid import pixels


def apply(put: Put) -> None:
    put(pixels, "blank_text", lambda frame, _syntax: frame)
