"""Files and folders that are still there after a power loss (DESIGN rule 2).

Rules, in order:
1. A file's bytes are synced before its name is given, and the name's folder after: a reader sees the old or the
   new content, whole.
2. A new folder's name is synced in its parent, up to the first folder that was there before.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder and what is missing above it; one that exists is left as it is. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    folder.mkdir(mode=mode)
    sync_folder(folder.parent)


def write_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a small file in one step, replacing an older one. Raises OSError."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_folder(path.parent)
