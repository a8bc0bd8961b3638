"""A one-time code that was used is not remembered."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.committer import Transaction
from ribcage.guard.factors import Factors


def apply(put: Put) -> None:
    def use_code(self: Factors, _tx: Transaction, person_id: bytes, code: str, now: float) -> None:
        self._matching_counter(person_id, code, now)

    put(Factors, "use_code", use_code)
