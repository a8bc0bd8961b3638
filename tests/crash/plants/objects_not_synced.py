"""Object files are written and never synced."""

from __future__ import annotations

import os
import stat
from types import SimpleNamespace

from attacks.patches._put import Put
from ribcage.storage import objects


def _fsync(descriptor: int) -> None:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)


def apply(put: Put) -> None:
    put(objects, "os", SimpleNamespace(**vars(os) | {"fsync": _fsync}))
