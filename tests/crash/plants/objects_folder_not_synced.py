"""Object files are synced, the folders that hold their names are not."""

from __future__ import annotations

from pathlib import Path

from attacks.patches._put import Put
from ribcage.storage import objects


def _no_sync(_: Path) -> None:
    return


def apply(put: Put) -> None:
    put(objects, "sync_folder", _no_sync)
