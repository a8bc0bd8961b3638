"""A challenge may be answered again and again."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.passkeys import Challenges


def apply(put: Put) -> None:
    put(Challenges, "take", lambda _self, _challenge, _owner, _use, _now: None)
