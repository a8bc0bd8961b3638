"""What every destruction does: keys gone with their epoch and asked for afterwards, then the sealed files.

Blocking: call it in a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path

from ribcage.guard.durable import sync_folder
from ribcage.guard.errors import GuardRefused
from ribcage.guard.keyring import Keyring


def destroy_keys(ring: Keyring, doomed: Collection[bytes]) -> None:
    """Afterwards each key is refused, which is asked and not assumed. Raises GuardRefused('unavailable')."""
    if any(not ring.is_destroyed(key_id) for key_id in doomed):
        ring.new_epoch_and_destroy_old(lambda key_id, _kind, _owner: key_id not in doomed)
    if not all(ring.is_destroyed(key_id) for key_id in doomed):
        raise GuardRefused("unavailable")


def unlink(objects: Path, locations: Iterable[str]) -> None:
    """Remove sealed files for which no key exists any more; the folders are synced."""
    folders = set[Path]()
    for location in locations:
        path = objects / location
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        folders.add(path.parent)
    for folder in folders:
        sync_folder(folder)
