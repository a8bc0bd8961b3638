"""A session is good in every browser."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.people import People


def apply(put: Put) -> None:
    put(People, "_check_client", lambda _self, _row, _shown: None)
