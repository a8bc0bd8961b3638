"""A receipt is believed as it is."""

from __future__ import annotations

import hmac
from types import SimpleNamespace

from attacks.patches._put import Put
from ribcage.evidence import receipt


def apply(put: Put) -> None:
    put(receipt, "hmac", SimpleNamespace(new=hmac.new, digest=hmac.digest, compare_digest=lambda *_: True))
