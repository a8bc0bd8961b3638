"""A receipt is signed without a look at the index."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.edges import Edges


def apply(put: Put) -> None:
    put(Edges, "_holds", lambda *_: True)
