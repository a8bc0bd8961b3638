"""The asker's right is enough, wherever the images go."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.disclosure import Disclosures


def apply(put: Put) -> None:
    put(Disclosures, "_recipient", lambda *_: None)
