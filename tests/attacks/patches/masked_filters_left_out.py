"""A filter on what the masked view hides is left out instead of matching nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attacks.patches._put import Put
from ribcage.guard import matching


def apply(put: Put) -> None:
    strict = matching.matches

    def matches(filters: Mapping[str, str], values: Mapping[str, Any], *, masked: bool, **more: bool) -> bool:
        shown = {k: v for k, v in filters.items() if not masked or k in matching.UNMASKED}
        return strict(shown, values, masked=masked, **more)

    put(matching, "matches", matches)
