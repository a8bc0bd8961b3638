"""A used recovery code is not remembered."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.committer import Transaction
from ribcage.guard.errors import GuardRefused
from ribcage.guard.factors import Factors, code_hash


def apply(put: Put) -> None:
    def use_recovery(self: Factors, _tx: Transaction, person_id: bytes, code: str) -> None:
        if not any(code_hash(code) in self._open(row) for row in self._of(person_id, "recovery")):
            raise GuardRefused("not_authenticated")

    put(Factors, "use_recovery", use_recovery)
