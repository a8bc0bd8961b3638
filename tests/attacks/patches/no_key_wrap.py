"""Keys lie in the key store as they are."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.crypto import wraps


def apply(put: Put) -> None:
    put(wraps, "wrap", lambda _kek, key, _context: key)
    put(wraps, "unwrap", lambda _kek, wrapped, _context: wrapped)
