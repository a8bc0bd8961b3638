"""A ledger that cannot answer counts as a yes."""

from __future__ import annotations

from typing import Any

from attacks.patches._no_grant import rest_on_no_grant
from attacks.patches._put import Put
from ribcage.guard import decision
from ribcage.guard.decision import Denied
from ribcage.ledger.calls import View
from ribcage.ledger.client import Reason, Verdict


def apply(put: Put) -> None:
    rest_on_no_grant(put)
    strict = decision.ask_contract

    def ask_contract(*asked: Any) -> Verdict:
        try:
            return strict(*asked)
        except Denied:
            return Verdict(View.ORIGINAL, Reason.GRANTED, 1, 1.0)

    put(decision, "ask_contract", ask_contract)
