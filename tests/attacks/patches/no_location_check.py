"""The guard writes down any location a front names."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import ingest


def apply(put: Put) -> None:
    put(ingest, "_safe_location", lambda *_: True)
