"""De-identification takes pixels for clean that nobody has read."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.usage.deid import engine


def apply(put: Put) -> None:
    put(engine, "text_is_likely", lambda *_: False)
