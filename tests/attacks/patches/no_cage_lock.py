"""A worker takes foreign bytes without locking itself in."""

from __future__ import annotations

from attacks import cage_attacks
from attacks.patches._put import Put


def apply(put: Put) -> None:
    put(cage_attacks, "WORKER_MODE", "open")
