"""A cosignature is believed without looking at it."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import witness_link


def apply(put: Put) -> None:
    put(witness_link, "verify_cosignatures", lambda *_, **__: {})
