"""The secret of a session proof is not compared."""

from __future__ import annotations

import hmac
from types import SimpleNamespace

from attacks.patches._put import Put
from ribcage.guard import people

_SHA256_BYTES = 32


def apply(put: Put) -> None:
    def compare_digest(one: bytes, other: bytes) -> bool:
        return len(one) == _SHA256_BYTES or hmac.compare_digest(one, other)

    put(people, "hmac", SimpleNamespace(compare_digest=compare_digest))
