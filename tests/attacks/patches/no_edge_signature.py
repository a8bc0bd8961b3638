"""An entry needs no signature of its edge."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.evidence.edge_entry import EntryFront


def apply(put: Put) -> None:
    put(EntryFront, "verify", lambda *_: None)
