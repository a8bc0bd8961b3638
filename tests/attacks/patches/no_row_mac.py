"""Rows that decide access are believed as they are."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.rows import MacRows


def apply(put: Put) -> None:
    put(MacRows, "check", lambda _self, _table, row: dict(row))
