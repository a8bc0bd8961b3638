"""Open sealed objects: the header stream at once, the bulk stream segment by segment.

Rules, in order:
1. The file must have exactly the size and the envelopes that the guard states; anything else is `ObjectBroken`.
2. Each segment is authenticated before a byte of it is handed on.
3. `cut` is called before each segment is opened and again before it is handed on; what it raises ends the
   stream there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from ribcage.crypto.errors import CryptoError
from ribcage.crypto.sealing import HEADER_BYTES, SEGMENT_BYTES, TAG_BYTES, Envelope, Sealed, Stream
from ribcage.guard.protocol import OpenedObject
from ribcage.storage.errors import ObjectBroken
from ribcage.storage.objects import ObjectFile, ObjectStore


class ObjectReader:
    """The two streams of one opened object. Blocking; one thread at a time. Use as a context manager."""

    def __init__(self, objects: ObjectStore, opened: OpenedObject) -> None:
        self._opened = opened
        self._file: ObjectFile = objects.open(opened.location)
        self._bulk: Sealed | None = None
        expected = opened.header_sealed_bytes + opened.bulk_sealed_bytes
        if self._file.file_bytes != expected:
            self._file.close()
            raise ObjectBroken(f"expected an object file of {expected} bytes, got {self._file.file_bytes}")

    @property
    def bulk_bytes(self) -> int:
        """Plain bytes of the bulk stream."""
        return self._opened.bulk_plain_bytes

    def header(self) -> bytes:
        """The whole header stream: prefix and data set up to the bulk element. Raises StorageError."""
        opened = self._opened
        sealed = self._reader(Stream.HEADER, opened.header_key, 0, opened.header_sealed_bytes)
        if sealed.plain_size != opened.header_plain_bytes:
            raise ObjectBroken("the header stream does not have the stated size")
        return self._read(sealed, 0, sealed.plain_size)

    def bulk(self, offset: int, length: int) -> bytes:
        """Plain bytes of the bulk stream, shorter at its end. Raises StorageError."""
        opened = self._opened
        if not opened.bulk_sealed_bytes:
            return b""
        if self._bulk is None:
            self._bulk = self._reader(
                Stream.BULK, opened.bulk_key, opened.header_sealed_bytes, opened.bulk_sealed_bytes
            )
            if self._bulk.plain_size != opened.bulk_plain_bytes:
                raise ObjectBroken("the bulk stream does not have the stated size")
        return self._read(self._bulk, offset, length)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reader(self, stream: Stream, key: bytes, start: int, sealed_bytes: int) -> Sealed:
        opened = self._opened
        expected = Envelope(
            stream, opened.epoch, opened.hospital, opened.key_id, opened.object_id, opened.algorithm
        )
        try:
            return Sealed(
                lambda offset, length: self._file.pread(start + offset, length), sealed_bytes, key, expected
            )
        except CryptoError as failure:
            raise ObjectBroken(str(failure)) from None

    @staticmethod
    def _read(sealed: Sealed, offset: int, length: int) -> bytes:
        try:
            return sealed.read(offset, length)
        except CryptoError as failure:
            raise ObjectBroken(str(failure)) from None


async def read_header(objects: ObjectStore, opened: OpenedObject) -> bytes:
    """The header stream of one object, read in a thread. Raises StorageError."""

    def read() -> bytes:
        with ObjectReader(objects, opened) as reader:
            return reader.header()

    return await asyncio.to_thread(read)


async def iter_bulk(
    reader: ObjectReader, cut: Callable[[], None], length: int | None = None, offset: int = 0
) -> AsyncIterator[bytes]:
    """`length` bytes of the bulk stream from `offset` on (all without it), opened in threads.

    `cut` raises when the disclosure has ended; it is asked before every segment. Raises StorageError.
    """
    end = reader.bulk_bytes if length is None else min(offset + length, reader.bulk_bytes)
    while offset < end:
        cut()
        want = min(_to_boundary(offset), end - offset)
        piece = await asyncio.to_thread(reader.bulk, offset, want)
        cut()
        if len(piece) != want:
            raise ObjectBroken(f"expected {want} bytes of the bulk stream, got {len(piece)}")
        offset += want
        yield piece


def _to_boundary(offset: int) -> int:
    """Bytes from `offset` to the end of its segment: Tink's header counts into segment 0."""
    capacity = SEGMENT_BYTES - TAG_BYTES
    return capacity - (offset + HEADER_BYTES) % capacity
