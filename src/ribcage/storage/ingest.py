"""Seal one instance into one durable object file: `sealed header stream ‖ sealed bulk stream`.

The header stream is the prefix (preamble and file meta, if any) and the data set up to its bulk element; the
bulk stream is the rest. An empty bulk stream has no bytes at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ribcage.crypto.sealing import Envelope, Stream, seal_into, sealed_size
from ribcage.guard.protocol import Admitted
from ribcage.storage.objects import ObjectStore
from ribcage.storage.ports import Octets


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A durable object file and the sizes of its streams, in bytes."""

    location: str
    file_bytes: int
    header_plain_bytes: int
    bulk_plain_bytes: int
    header_sealed_bytes: int
    bulk_sealed_bytes: int


def store(
    objects: ObjectStore, admitted: Admitted, header: Sequence[Octets], bulk: Sequence[Octets]
) -> StoredObject:
    """Seal and write; durable when it returns. Blocking: call it in a thread. Raises StorageError."""
    header_plain, bulk_plain = _total(header), _total(bulk)
    header_sealed = sealed_size(header_plain)
    bulk_sealed = sealed_size(bulk_plain) if bulk_plain else 0
    out = memoryview(bytearray(header_sealed + bulk_sealed))
    seal_into(admitted.header_key, _envelope(admitted, Stream.HEADER), header, out[:header_sealed])
    if bulk_plain:
        seal_into(admitted.bulk_key, _envelope(admitted, Stream.BULK), bulk, out[header_sealed:])
    location = objects.write(admitted.object_id, [out])
    return StoredObject(
        location, header_sealed + bulk_sealed, header_plain, bulk_plain, header_sealed, bulk_sealed
    )


def _envelope(admitted: Admitted, stream: Stream) -> Envelope:
    return Envelope(
        stream,
        admitted.epoch,
        admitted.hospital,
        admitted.key_id,
        admitted.object_id,
        admitted.algorithm,
    )


def _total(parts: Sequence[Octets]) -> int:
    return sum(memoryview(part).nbytes for part in parts)
