"""The contract's first answer about a person and a study is remembered for ever."""

from __future__ import annotations

from typing import Any

from attacks.patches._put import Put
from ribcage.guard import decision
from ribcage.ledger.client import Verdict


def apply(put: Put) -> None:
    ask, remembered = decision.ask_contract, dict[tuple[bytes, str], Verdict]()

    def ask_contract(core: Any, actor: Any, study: Any, purpose: Any) -> Verdict:
        key = (actor.subject, study.uid)
        if key not in remembered:
            remembered[key] = ask(core, actor, study, purpose)
        return remembered[key]

    put(decision, "ask_contract", ask_contract)
