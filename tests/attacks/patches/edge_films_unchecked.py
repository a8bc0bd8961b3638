"""A front may store anything in the name of a modality behind an edge."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.edges import Edges


def apply(put: Put) -> None:
    put(Edges, "check", lambda *_: None)
