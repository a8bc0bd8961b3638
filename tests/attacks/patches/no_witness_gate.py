"""Whatever the witness says or does not say, the archive is open."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.witness_watch import WitnessWatch


def apply(put: Put) -> None:
    put(WitnessWatch, "closed", False)
    put(WitnessWatch, "behind", False)
