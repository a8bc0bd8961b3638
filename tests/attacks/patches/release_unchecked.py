"""What the engine made for a project is handed over as it is."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.oversight import deid_making


def apply(put: Put) -> None:
    put(deid_making, "judged", lambda _work, _outcomes: [])
