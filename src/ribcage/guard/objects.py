"""Sealed objects as the guard itself has them: whose key sealed one, its streams' keys, the streams opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final

import sqlalchemy as sa

from ribcage.crypto.derive import object_key
from ribcage.crypto.sealing import Envelope, Sealed, Stream
from ribcage.guard import catalogue
from ribcage.guard.core import Core
from ribcage.guard.keyring import KeyKind

STREAMS: Final = ((Stream.HEADER, "header"), (Stream.BULK, "bulk"))  # in the order of the file


def owner_of(core: Core, row: sa.RowMapping) -> tuple[KeyKind, bytes]:
    """Whose key sealed a parked object: its own, or its study's where it came late; and the context of its wrap."""
    context = bytes(row["key_context"])
    own = context == catalogue.parked_context(core, bytes(row["object_id"]))
    return ("parked" if own else "study"), context


def stream_keys(core: Core, key: bytes, key_id: bytes, object_id: bytes) -> tuple[bytes, bytes]:
    """Keys of header and bulk stream, from the study's key or the parked object's own."""
    header, bulk = (
        object_key(key, hospital=core.hospital, key_id=key_id, object_id=object_id, stream=stream)
        for stream, _ in STREAMS
    )
    return header, bulk


def open_streams(
    core: Core, row: sa.RowMapping, key: bytes, descriptor: int
) -> Iterator[tuple[Stream, str, Sealed]]:
    """The streams of an object's file that hold anything, with their names. Blocking. Raises CryptoError, OSError."""
    key_id, object_id, start = bytes(row["key_id"]), bytes(row["object_id"]), 0
    keys = stream_keys(core, key, key_id, object_id)
    for (stream, name), opens in zip(STREAMS, keys, strict=True):
        size = int(row[f"{name}_sealed_bytes"])
        if size:
            envelope = Envelope(
                stream, int(row["epoch"]), core.hospital, key_id, object_id, int(row["algorithm"])
            )
            yield stream, name, Sealed(_reader(descriptor, start), size, opens, envelope)
        start += size


def _reader(descriptor: int, start: int) -> Callable[[int, int], bytes]:
    return lambda offset, length: os.pread(descriptor, length, start + offset)
