"""Nobody counts what a sender's studies pull."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.priors import PriorStudies


def apply(put: Put) -> None:
    put(PriorStudies, "_within_limit", lambda *_: True)
