"""A superseded secret stays good."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.session_secrets import Secrets


def apply(put: Put) -> None:
    put(Secrets, "superseded_at", lambda _self, _secret: float("inf"))
