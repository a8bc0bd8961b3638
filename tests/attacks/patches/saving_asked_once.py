"""The contract is asked before a report is written, and not when it is stored."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.derivation import Derivations


def apply(put: Put) -> None:
    put(Derivations, "_ask_again", lambda *_: None)
