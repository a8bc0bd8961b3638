"""Broken glass in a fault is answered whether its record is durable or not."""

from __future__ import annotations

import contextlib
from typing import Any

from attacks.patches._put import Put
from ribcage.guard.errors import GuardUnavailable
from ribcage.guard.glass_in_a_fault import GlassInAFault


def apply(put: Put) -> None:
    strict = GlassInAFault._append

    async def append(self: GlassInAFault, *record: Any, **more: Any) -> None:
        with contextlib.suppress(GuardUnavailable):
            await strict(self, *record, **more)

    put(GlassInAFault, "_append", append)
