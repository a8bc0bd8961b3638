"""Every registered device may store."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.elsewhere import Elsewhere
from ribcage.guard.ingest import Ingest


def apply(put: Put) -> None:
    for room in (Ingest, Elsewhere):
        put(room, "_check_permission", lambda *_: None)
