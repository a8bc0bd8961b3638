"""Instances are released one by one, whatever the others say."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.usage.deid import batch


def apply(put: Put) -> None:
    put(batch, "_contradict", lambda _: False)
