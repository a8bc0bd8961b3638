"""The contract is not asked: everybody has the highest view of everything."""

from __future__ import annotations

from attacks.patches._no_grant import rest_on_no_grant
from attacks.patches._put import Put
from ribcage.guard import decision
from ribcage.ledger.calls import View
from ribcage.ledger.client import Reason, Verdict


def apply(put: Put) -> None:
    rest_on_no_grant(put)
    put(decision, "ask_contract", lambda *_: Verdict(View.ORIGINAL, Reason.GRANTED, 1, 1.0))
