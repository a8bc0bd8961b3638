"""A code that the database could not take is not remembered."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.factors import Factors


def apply(put: Put) -> None:
    put(Factors, "spent", lambda *_: None)
