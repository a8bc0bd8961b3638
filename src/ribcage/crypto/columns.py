"""Sealed columns: the construction of `wraps` under the label "ribcage/column/v1".

The context is `column_context(table, column, row)`: a value copied to another row or column does not open.
"""

from __future__ import annotations

from ribcage.crypto import wraps

_COLUMN_LABEL = b"ribcage/column/v1"


def column_context(table: str, column: str, row: bytes | str | int) -> bytes:
    """Where a sealed value lives: table, column and row id, encoded unambiguously."""
    return wraps.context(table, column, row)


def seal_column(key: bytes, context: bytes, plaintext: bytes, *, _nonce: bytes | None = None) -> bytes:
    """Seal one value under a 32-byte key, bound to its place; 29 bytes longer than the plaintext."""
    return wraps.seal_small(_COLUMN_LABEL, key, context, plaintext, _nonce)


def open_column(key: bytes, context: bytes, sealed: bytes) -> bytes:
    """Open a sealed value; raises WrapBroken when it was moved, changed or sealed under another key."""
    return wraps.open_small(_COLUMN_LABEL, key, context, sealed)
