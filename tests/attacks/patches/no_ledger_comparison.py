"""At the start nobody compares the ledger with what the log says was changed."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import home


def apply(put: Put) -> None:
    put(home, "ledger_behind_log", lambda *_: [])
    put(home, "older_database", lambda *_: [])
