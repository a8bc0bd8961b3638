"""Every Patient ID names a patient, 'UNKNOWN' too."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import catalogue


def apply(put: Put) -> None:
    put(catalogue, "PLACEHOLDER_IDS", frozenset())
