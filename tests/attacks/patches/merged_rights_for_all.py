"""A grant about a merged patient counts for all studies of the one who stays."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import decision


def apply(put: Put) -> None:
    merged = decision._merged
    put(decision, "_former", lambda core, study: [(each, each) for each in merged(core, study)])
