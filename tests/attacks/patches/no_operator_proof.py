"""Whoever says so is the operator."""

from __future__ import annotations

import hmac
from types import SimpleNamespace

from attacks.patches._put import Put
from ribcage.guard import handlers


def apply(put: Put) -> None:
    put(handlers, "hmac", SimpleNamespace(digest=hmac.digest, compare_digest=lambda *_: True))
