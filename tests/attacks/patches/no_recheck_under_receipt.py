"""Inside a disclosure the contract is not asked again."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.disclosure import Disclosures


def apply(put: Put) -> None:
    put(Disclosures, "_still_allowed", lambda *_: True)
