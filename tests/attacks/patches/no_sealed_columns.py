"""Identifying columns stand in the database as they are."""

from __future__ import annotations

from types import SimpleNamespace

from attacks.patches._put import Put
from ribcage.crypto import columns, wraps


def apply(put: Put) -> None:
    clear = SimpleNamespace(
        context=wraps.context,
        seal_small=lambda _label, _key, _bound, plain, _nonce=None: plain,
        open_small=lambda _label, _key, _bound, sealed: sealed,
    )
    put(columns, "wraps", clear)
