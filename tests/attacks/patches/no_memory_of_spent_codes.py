"""A code that the database could not take is not remembered."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.people import People


def apply(put: Put) -> None:
    put(People, "spent", lambda *_: None)
