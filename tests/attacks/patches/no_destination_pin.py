"""Whoever listens at a destination's address is the destination."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.transfer.dimse import sender


def apply(put: Put) -> None:
    put(sender, "is_registered", lambda *_: True)
