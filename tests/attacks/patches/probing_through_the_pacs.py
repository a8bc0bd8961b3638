"""In the masked view the old PACS's matching by name counts."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import matching


def apply(put: Put) -> None:
    put(matching, "UNMASKED", matching.UNMASKED | matching.STUDY_KEYWORDS)
