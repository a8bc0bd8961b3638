"""For patches that say yes without a grant: their disclosures have the ordinary end, no grant's."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.disclosure import Disclosures


def rest_on_no_grant(put: Put) -> None:
    put(Disclosures, "_end_of", lambda self, _decision, now: now + self._core.limits.disclosure_seconds)
