"""Attacks by pixels that took over the worker that decodes them. The worker is the product's, its work is planted."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from helpers import planted_worker
from ribcage.cage import Cage, CageFailed, CageLimits, FrameSource, WishInvalid

WORKER_MODE = "locked"  # a worker is a program of its own: the patch `no_cage_lock` reaches it by this word


def hostile_pixels(folder: Path) -> bool:
    """A codec opens a file of the front's user."""
    secret = folder / "secret"
    secret.write_bytes(b"x")

    async def play() -> bool:
        command = [sys.executable, "-I", str(planted_worker.__file__), WORKER_MODE]
        cage = Cage(CageLimits(workers=1), command)
        try:
            await cage.decode(FrameSource(str(secret).encode(), "read_file", b""))
        except WishInvalid:
            return True
        except CageFailed:
            return False
        finally:
            await cage.close()
        return False

    return asyncio.run(play())
