"""The code of a reset works as often, as long and after as many guesses as one likes."""

from __future__ import annotations

import msgspec

from attacks.patches._put import Put
from ribcage.guard.committer import Transaction
from ribcage.guard.errors import GuardRefused
from ribcage.guard.factor_resets import Code, FactorResets
from ribcage.guard.factors import code_hash


def apply(put: Put) -> None:
    def use(self: FactorResets, tx: Transaction, person_id: bytes, code: str) -> None:
        kept = msgspec.json.decode(self._core.people.factors.kept(tx, person_id, "reset")[0], type=Code)
        if kept.sha256 != code_hash(code):
            raise GuardRefused("not_authenticated")

    put(FactorResets, "_use", use)
