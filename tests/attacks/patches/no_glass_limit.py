"""Nobody counts how often a person breaks the glass."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.permits import Permits


def apply(put: Put) -> None:
    put(Permits, "of_last_day", lambda *_: 0)
