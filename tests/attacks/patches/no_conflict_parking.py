"""What contradicts a study is filed under it."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.ingest import Ingest


def apply(put: Put) -> None:
    put(Ingest, "_contradiction", lambda *_: "")
