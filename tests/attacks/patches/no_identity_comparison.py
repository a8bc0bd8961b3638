"""The data set need not be the instance that the command names."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.capture import disarm


def apply(put: Put) -> None:
    put(disarm, "_compare", lambda *_: None)
