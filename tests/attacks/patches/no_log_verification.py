"""verify does not recompute the log."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.maintain import Upkeep
from ribcage.guard.protocol import VerifyAnswer


def apply(put: Put) -> None:
    put(Upkeep, "_log", lambda _self, _connection: VerifyAnswer(-1, 0, [], []))
