"""A migration's report believes whoever carried the instances."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import migration


def apply(put: Put) -> None:
    put(migration, "_judge", lambda *_: ("held", ""))
