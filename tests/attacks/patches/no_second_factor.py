"""A password counts as the second factor."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.people import People


def apply(put: Put) -> None:
    put(People, "_fresh_until", lambda _self, row: float(row["expires_at"]))
