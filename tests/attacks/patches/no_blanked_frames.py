"""Compressed frames leave the masked view as they are."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.usage import _masked_bulk, pixels


def apply(put: Put) -> None:
    for room in (_masked_bulk, pixels):
        put(room, "blank_text", lambda frame, _syntax: frame)
