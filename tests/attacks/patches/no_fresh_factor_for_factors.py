"""A password alone manages second factors."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.passkeys import Passkeys


def apply(put: Put) -> None:
    put(Passkeys, "_check_fresh", lambda _self, _visitor: None)
