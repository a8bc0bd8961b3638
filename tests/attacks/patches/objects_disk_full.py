"""No defence, a misfortune: while the file named by the environment exists, the objects folder has no space left."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

from attacks.patches._put import Put
from ribcage.storage import objects

MARKER = "RIBCAGE_TEST_FULL"
_LAST_BYTES = 512


def _write(descriptor: int, data: memoryview) -> int:
    if not Path(os.environ[MARKER]).exists():
        return os.write(descriptor, data)
    if len(data) > _LAST_BYTES:
        return os.write(descriptor, data[:-_LAST_BYTES])  # a disk fills up in the middle of a file
    raise OSError(errno.ENOSPC, "no space left on device")


def apply(put: Put) -> None:
    put(objects, "os", SimpleNamespace(**vars(os) | {"write": _write}))
