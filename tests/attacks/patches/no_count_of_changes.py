"""verify does not compare the ledger with what the log says was changed."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import maintain


def apply(put: Put) -> None:
    put(maintain._Promises, "add", lambda *_: None)
