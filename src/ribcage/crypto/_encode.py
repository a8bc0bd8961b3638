"""Canonical encoding shared by contexts, labels and MACs: every field carries its length.

Two different lists of fields never encode to the same bytes, so a value cannot move into its neighbour.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

Octets = bytes | bytearray | memoryview

KEY_BYTES = 32


def field(value: bytes) -> bytes:
    """`uint32 big-endian length ‖ value`."""
    return struct.pack(">I", len(value)) + value


def fields(values: Iterable[bytes]) -> bytes:
    """The fields one after the other, each with its length."""
    return b"".join(field(value) for value in values)


def check_key(key: bytes) -> bytes:
    """Return `key` when it has 32 bytes; ValueError otherwise (a programming error, not an attack)."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, got {len(key)}")
    return key
