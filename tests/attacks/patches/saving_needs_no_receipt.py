"""Whoever may store films may store reports: nobody asks for a receipt."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import ingest


def apply(put: Put) -> None:
    put(ingest, "SAVED_CLASSES", frozenset())
