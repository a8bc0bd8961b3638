"""Seal one instance into one durable object file: `sealed header stream ‖ sealed bulk stream`.

The header stream is the prefix (preamble and file meta, if any) and the data set up to its bulk element; the
bulk stream is the rest. An empty bulk stream has no bytes at all. `store` has both whole, `GrowingObject` takes the
bulk stream as it comes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ribcage.crypto.sealing import (
    SEGMENT_BYTES,
    Envelope,
    Sealer,
    Stream,
    seal_into,
    sealed_size,
    segment_room,
)
from ribcage.guard.protocol import Admitted, OpenedObject
from ribcage.storage.errors import StorageError
from ribcage.storage.objects import ObjectStore
from ribcage.storage.ports import Octets
from ribcage.storage.retrieve import ObjectReader

_ROOMS = threading.local()


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


class GrowingObject:
    """An object that is written while its bulk stream arrives. Blocking; one thread at a time.

    Raises StorageError; what was written is then gone.
    """

    def __init__(self, objects: ObjectStore, admitted: Admitted, header: Octets) -> None:
        self._header_plain = memoryview(header).nbytes
        self._header_sealed = sealed_size(self._header_plain)
        self._sealer = Sealer(admitted.bulk_key, _envelope(admitted, Stream.BULK))
        self._bulk_plain = 0
        sealed = memoryview(bytearray(self._header_sealed + len(self._sealer.head)))
        seal_into(admitted.header_key, _envelope(admitted, Stream.HEADER), [header], sealed)
        sealed[self._header_sealed :] = self._sealer.head
        self._file = objects.create(admitted.object_id)
        self._file.append(sealed)

    def add(self, segment: Octets, *, last: bool = False) -> None:
        """Seal and write the next segment of the bulk stream: as many bytes as `segment_room` says, but the last."""
        room = _room()
        written = self._sealer.seal(segment, room, last=last)
        self._bulk_plain += memoryview(segment).nbytes
        self._file.append(room[:written])

    def keep(self) -> StoredObject:
        """After the last segment: make it durable."""
        location = self._file.keep()
        bulk_sealed = self._sealer.sealed_bytes
        return StoredObject(
            location,
            self._header_sealed + bulk_sealed,
            self._header_plain,
            self._bulk_plain,
            self._header_sealed,
            bulk_sealed,
        )

    def discard(self) -> None:
        """Remove it, unless it was kept."""
        self._file.discard()


def _room() -> memoryview:
    """For one sealed segment; of this thread, and used until it is written."""
    room: memoryview | None = getattr(_ROOMS, "room", None)
    if room is None:
        room = _ROOMS.room = memoryview(bytearray(SEGMENT_BYTES))
    return room


def store_again(
    objects: ObjectStore, first: Admitted, stored: StoredObject, admitted: Admitted
) -> StoredObject:
    """Seal an object under other keys, segment by segment; the first one stays. Blocking. Raises StorageError."""
    with ObjectReader(objects, opened_of(first, stored)) as source:
        copy = GrowingObject(objects, admitted, source.header())
        try:
            offset = index = 0
            while offset < source.bulk_bytes:
                segment = source.bulk(offset, segment_room(index))
                offset, index = offset + len(segment), index + 1
                copy.add(segment, last=offset == source.bulk_bytes)
            return copy.keep()
        except StorageError:
            copy.discard()
            raise


def opened_of(admitted: Admitted, stored: StoredObject) -> OpenedObject:
    """An object of our own, for reading it back; nothing is known of what it is."""
    return OpenedObject(
        object_id=admitted.object_id,
        location=stored.location,
        header_key=admitted.header_key,
        bulk_key=admitted.bulk_key,
        algorithm=admitted.algorithm,
        key_id=admitted.key_id,
        epoch=admitted.epoch,
        hospital=admitted.hospital,
        header_plain_bytes=stored.header_plain_bytes,
        bulk_plain_bytes=stored.bulk_plain_bytes,
        header_sealed_bytes=stored.header_sealed_bytes,
        bulk_sealed_bytes=stored.bulk_sealed_bytes,
        prefix_bytes=0,
        data_set_sha256=b"",
        sop_class_uid="",
        sop_instance_uid="",
        transfer_syntax_uid="",
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
