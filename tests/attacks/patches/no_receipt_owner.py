"""A receipt opens for whoever shows it."""

from __future__ import annotations

from typing import Any

from attacks.patches._put import Put
from ribcage.evidence import receipt as receipts
from ribcage.guard.disclosure import Disclosures


def apply(put: Put) -> None:
    bound = Disclosures._check

    def check(self: Disclosures, _actor: Any, receipt: bytes) -> Any:
        now_ms = int(self._core.clock() * 1000)
        live = self._live[receipts.check(self._receipt_key, receipt, now_ms).disclosure]
        return bound(self, live.actor, receipt)

    put(Disclosures, "_check", check)
