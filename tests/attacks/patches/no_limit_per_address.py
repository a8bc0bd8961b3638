"""One address may hold every place."""

from __future__ import annotations

from functools import partial

from attacks.patches._put import Put
from ribcage.cli import front_process
from ribcage.transfer.limits import FrontLimits, FrontSettings


def apply(put: Put) -> None:
    limits = FrontLimits(max_handshakes_per_address=1 << 20, max_connections_per_address=1 << 20)
    put(front_process, "FrontSettings", partial(FrontSettings, limits=limits))
