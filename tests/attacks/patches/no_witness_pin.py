"""Any certificate is taken for the witness's."""

from __future__ import annotations

from types import SimpleNamespace

from attacks.patches._put import Put
from ribcage.guard import witness_wire


def apply(put: Put) -> None:
    put(witness_wire, "hmac", SimpleNamespace(compare_digest=lambda *_: True))
