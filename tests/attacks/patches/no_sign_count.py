"""The count of a passkey is not compared."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.factors import Factors


def apply(put: Put) -> None:
    put(Factors, "use_passkey", lambda _self, _tx, _held, _count, _now: None)
