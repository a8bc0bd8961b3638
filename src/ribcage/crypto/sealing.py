"""Sealed objects: an outer envelope, then Tink's AES-GCM-HKDF streaming format.

Rules, in order (`docs/formats.md`, 1):
1. `sealed = envelope[60] ‖ 0x28 ‖ salt[32] ‖ nonce_prefix[7] ‖ segments`.
2. Segment key = HKDF-SHA256(object key, salt, info = the encoded envelope, 32 bytes): the envelope is Tink's
   associated data, so a changed envelope opens nothing.
3. Segments have `segment size` bytes of ciphertext; the 40 header bytes count into the first one, so it holds
   segment size - 56 plaintext bytes, the others - 16. The last may be shorter. An empty plaintext has one
   segment; a plaintext that fills its last segment has no empty one after it.
4. Nonce = prefix ‖ uint32 big-endian segment number ‖ 1 for the last segment, else 0. No associated data.
5. A reader states the envelope it expects and refuses any other before it derives a key.
6. A partial read first proves the length (opens the last segment): a cut object is refused, not shortened.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ribcage.crypto._encode import KEY_BYTES, Octets, check_key
from ribcage.crypto.errors import FormatNewer, SealBroken

MAGIC = b"RBCG"
VERSION = 1
SEGMENT_BYTES = 1 << 20
TAG_BYTES = 16
HEADER_BYTES = 40  # Tink: length byte, salt, nonce prefix
_SALT_BYTES = 32
_PREFIX_BYTES = 7
_ENVELOPE = struct.Struct(">4sBBBBI16s16s16s")
ENVELOPE_BYTES = _ENVELOPE.size
MIN_SEGMENT_LOG2 = 6
MAX_SEGMENT_LOG2 = 24
_MAX_SEGMENTS = 1 << 32


class Algorithm(IntEnum):
    """Segment ciphers. 1 is Tink's; 2 is our variant of the same framing; 3 is reserved for SM4-GCM."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


class Stream(IntEnum):
    """Which part of an instance a sealed object holds."""

    HEADER = 1
    BULK = 2
    OTHER = 3


@dataclass(frozen=True)
class Envelope:
    """What an object is, in clear: 60 bytes, authenticated as associated data. Ids have 16 bytes."""

    stream: int
    epoch: int
    hospital: bytes
    key_id: bytes
    object_id: bytes
    algorithm: int = Algorithm.AES_256_GCM
    segment_log2: int = 20

    def __post_init__(self) -> None:
        if any(len(value) != 16 for value in (self.hospital, self.key_id, self.object_id)):
            raise ValueError("hospital, key_id and object_id have 16 bytes each")
        if not MIN_SEGMENT_LOG2 <= self.segment_log2 <= MAX_SEGMENT_LOG2:
            raise ValueError(
                f"segment_log2 is {MIN_SEGMENT_LOG2}-{MAX_SEGMENT_LOG2}, got {self.segment_log2}"
            )

    @property
    def segment_bytes(self) -> int:
        """Ciphertext bytes of a full segment."""
        return 1 << self.segment_log2

    def encode(self) -> bytes:
        """The 60 bytes that precede Tink's and are its associated data."""
        return _ENVELOPE.pack(
            MAGIC,
            VERSION,
            self.algorithm,
            self.stream,
            self.segment_log2,
            self.epoch,
            self.hospital,
            self.key_id,
            self.object_id,
        )

    @classmethod
    def parse(cls, data: Octets) -> Envelope:
        """Read the first 60 bytes. SealBroken when they are no envelope, FormatNewer when unknown to us."""
        if len(data) < ENVELOPE_BYTES:
            raise SealBroken(f"expected an envelope of {ENVELOPE_BYTES} bytes, got {len(data)}")
        magic, version, algorithm, stream, log2, epoch, hospital, key_id, object_id = _ENVELOPE.unpack(
            bytes(data[:ENVELOPE_BYTES])
        )
        if magic != MAGIC:
            raise SealBroken("not a sealed object: it does not begin with RBCG")
        if version != VERSION:
            raise FormatNewer(f"sealed in version {version}, this program reads {VERSION}: use the newer one")
        if algorithm not in tuple(Algorithm):
            raise FormatNewer(f"sealed with algorithm {algorithm}, this program has 1 and 2")
        if stream not in tuple(Stream) or not MIN_SEGMENT_LOG2 <= log2 <= MAX_SEGMENT_LOG2:
            raise SealBroken("the envelope names no known stream or segment size")
        return cls(stream, epoch, hospital, key_id, object_id, algorithm, log2)


def sealed_size(plain_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Bytes of the whole sealed object (envelope included) for a plaintext of `plain_bytes`."""
    return (
        ENVELOPE_BYTES + HEADER_BYTES + plain_bytes + TAG_BYTES * _segment_count(plain_bytes, segment_bytes)
    )


def segment_room(index: int, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Plaintext bytes of a full segment (rule 3)."""
    return segment_bytes - TAG_BYTES - (0 if index else HEADER_BYTES)


class Sealer:
    """Seals one stream in order, whose length need not be known before. Write `head`, then what `seal` gives.

    `_salt` and `_prefix` are for test vectors only.
    """

    def __init__(
        self, key: bytes, envelope: Envelope, *, _salt: bytes | None = None, _prefix: bytes | None = None
    ) -> None:
        salt = os.urandom(_SALT_BYTES) if _salt is None else _salt
        self._prefix = os.urandom(_PREFIX_BYTES) if _prefix is None else _prefix
        encoded = envelope.encode()
        self._cipher = _cipher(key, envelope.algorithm, salt, encoded)
        self._segment_bytes = envelope.segment_bytes
        self._index = 0
        self.head = encoded + bytes([HEADER_BYTES]) + salt + self._prefix
        self.sealed_bytes = len(self.head)

    @property
    def room(self) -> int:
        """Plaintext bytes of the next segment, unless it is the last."""
        return segment_room(self._index, self._segment_bytes)

    def seal(self, plain: Octets, out: memoryview, *, last: bool) -> int:
        """Seal the next segment into `out`: exactly `room` bytes, but for the last one. Releases the GIL.

        Returns the bytes written. Raises ValueError for another length, and after 2^32 segments.
        """
        size = memoryview(plain).nbytes
        if size > self.room or (size < self.room and not last) or self._index >= _MAX_SEGMENTS:
            raise ValueError(f"expected a segment of {self.room} bytes, got {size}")
        written = self._cipher.encrypt_into(
            _nonce(self._prefix, self._index, last), plain, None, out[: size + TAG_BYTES]
        )
        self._index += 1
        self.sealed_bytes += written
        return written


class Opener:
    """Opens one stream in order, as it arrives: give `head` bytes first, then segment after segment.

    Raises SealBroken.
    """

    def __init__(self, key: bytes, expected: Envelope, head: Octets) -> None:
        data = bytes(head)
        if len(data) != ENVELOPE_BYTES + HEADER_BYTES or Envelope.parse(data) != expected:
            raise SealBroken("the stored envelope is not the expected one: this is another object")
        if data[ENVELOPE_BYTES] != HEADER_BYTES:
            raise SealBroken(f"expected a header of {HEADER_BYTES} bytes, got {data[ENVELOPE_BYTES]}")
        salt = data[ENVELOPE_BYTES + 1 : ENVELOPE_BYTES + 1 + _SALT_BYTES]
        self._prefix = data[-_PREFIX_BYTES:]
        self._cipher = _cipher(key, expected.algorithm, salt, expected.encode())
        self._index = 0

    def open(self, segment: Octets, *, last: bool) -> bytes:
        """The next segment's plaintext."""
        try:
            plain = self._cipher.decrypt(_nonce(self._prefix, self._index, last), segment, None)
        except InvalidTag:
            raise SealBroken(f"segment {self._index} does not authenticate") from None
        self._index += 1
        return plain


def sealed_segments(sealed_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> list[int]:
    """Sealed bytes of each segment of an object of this size, in order. Raises SealBroken where none has it."""
    _, count = _framing(sealed_bytes, segment_bytes)
    body = sealed_bytes - ENVELOPE_BYTES
    sizes = [segment_bytes] * (count - 1) + [body - (count - 1) * segment_bytes]
    sizes[0] -= HEADER_BYTES
    return sizes


def seal_into(
    key: bytes,
    envelope: Envelope,
    parts: Sequence[Octets],
    out: memoryview,
    *,
    _salt: bytes | None = None,
    _prefix: bytes | None = None,
) -> int:
    """Seal the concatenation of `parts` into `out` (at least `sealed_size` bytes, not overlapping the parts).

    Returns the bytes written. `_salt` and `_prefix` are for test vectors only. Releases the GIL per segment.
    """
    total = sum(memoryview(part).nbytes for part in parts)
    size = sealed_size(total, envelope.segment_bytes)
    if out.nbytes < size:
        raise ValueError(f"expected room for {size} bytes, got {out.nbytes}")
    sealer = Sealer(key, envelope, _salt=_salt, _prefix=_prefix)
    start = len(sealer.head)
    out[:start] = sealer.head
    count = _segment_count(total, envelope.segment_bytes)
    for index, chunk in enumerate(_cut(parts, total, envelope.segment_bytes)):
        start += sealer.seal(chunk, out[start:], last=index == count - 1)
    return start


def seal(
    key: bytes,
    envelope: Envelope,
    data: Octets,
    *,
    _salt: bytes | None = None,
    _prefix: bytes | None = None,
) -> bytes:
    """Seal `data` at once and return envelope, header and segments."""
    out = bytearray(sealed_size(memoryview(data).nbytes, envelope.segment_bytes))
    seal_into(key, envelope, [data], memoryview(out), _salt=_salt, _prefix=_prefix)
    return bytes(out)


class Sealed:
    """Random access to one sealed object. Not thread-safe: one reader per request.

    `pread(offset, length)` returns up to `length` bytes of the sealed object, `sealed_bytes` is its whole
    size, `expected` is what the guard says this object is. Raises SealBroken, or FormatNewer.
    """

    def __init__(
        self, pread: Callable[[int, int], bytes], sealed_bytes: int, key: bytes, expected: Envelope
    ) -> None:
        self._pread = pread
        self._segment_bytes = expected.segment_bytes
        self.plain_size, self._count = _framing(sealed_bytes, self._segment_bytes)
        self._sealed_bytes = sealed_bytes
        head = self._exactly(0, ENVELOPE_BYTES + HEADER_BYTES)
        if Envelope.parse(head) != expected:
            raise SealBroken("the stored envelope is not the expected one: this is another object")
        if head[ENVELOPE_BYTES] != HEADER_BYTES:
            raise SealBroken(f"expected a header of {HEADER_BYTES} bytes, got {head[ENVELOPE_BYTES]}")
        salt = head[ENVELOPE_BYTES + 1 : ENVELOPE_BYTES + 1 + _SALT_BYTES]
        self._prefix = head[-_PREFIX_BYTES:]
        self._cipher = _cipher(key, expected.algorithm, salt, expected.encode())
        self._held: tuple[int, bytes] = (-1, b"")
        self._length_proven = False

    def read(self, offset: int, length: int) -> bytes:
        """Plaintext bytes `[offset, offset + length)`, shorter at the end of the object."""
        return b"".join(self.segments(offset, length))

    def segments(self, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The plaintext of a range, segment by segment, each authenticated before it is yielded."""
        if offset < 0 or (length is not None and length < 0):
            raise ValueError("offset and length are not negative")
        end = self.plain_size if length is None else min(self.plain_size, offset + length)
        if end < self.plain_size or offset >= end:
            self.prove_length()
        while offset < end:
            index, skip = self._locate(offset)
            plain = self._open(index)
            piece = plain if skip == 0 and offset + len(plain) <= end else plain[skip : skip + end - offset]
            offset += len(piece)
            yield piece

    def prove_length(self) -> None:
        """Open the last segment: only the true last one carries the final flag (rule 4)."""
        if not self._length_proven:
            self._open(self._count - 1)

    def _locate(self, offset: int) -> tuple[int, int]:
        index, skip = divmod(offset + HEADER_BYTES, self._segment_bytes - TAG_BYTES)
        return (index, skip) if index else (0, offset)

    def _open(self, index: int) -> bytes:
        if self._held[0] == index:
            return self._held[1]
        start = ENVELOPE_BYTES + (index * self._segment_bytes if index else HEADER_BYTES)
        end = min(ENVELOPE_BYTES + (index + 1) * self._segment_bytes, self._sealed_bytes)
        last = index == self._count - 1
        try:
            plain = self._cipher.decrypt(
                _nonce(self._prefix, index, last), self._exactly(start, end - start), None
            )
        except InvalidTag:
            raise SealBroken(f"segment {index} of {self._count} does not authenticate") from None
        self._length_proven = self._length_proven or last
        self._held = (index, plain)
        return plain

    def _exactly(self, offset: int, length: int) -> bytes:
        data = self._pread(offset, length)
        if len(data) != length:
            raise SealBroken(f"expected {length} bytes at {offset}, got {len(data)}: the object was cut")
        return data


def _segment_count(plain_bytes: int, segment_bytes: int) -> int:
    count = max(1, -(-(plain_bytes + HEADER_BYTES) // (segment_bytes - TAG_BYTES)))
    if count > _MAX_SEGMENTS:
        raise ValueError(f"{plain_bytes} bytes need more than 2^32 segments")
    return count


def _framing(sealed_bytes: int, segment_bytes: int) -> tuple[int, int]:
    """(plaintext bytes, segments) of a sealed object, or SealBroken when no object has that size."""
    body = sealed_bytes - ENVELOPE_BYTES
    count = max(1, -(-body // segment_bytes))
    plain = body - HEADER_BYTES - count * TAG_BYTES
    if plain < 0 or sealed_size(plain, segment_bytes) != sealed_bytes:
        raise SealBroken(f"no sealed object has {sealed_bytes} bytes: it was cut or extended")
    return plain, count


def _cut(parts: Sequence[Octets], total: int, segment_bytes: int) -> Iterator[memoryview]:
    """The plaintext of each segment; copied only where a segment spans two parts."""
    views = [view for view in (memoryview(part).cast("B") for part in parts) if view.nbytes]
    room = segment_bytes - TAG_BYTES - HEADER_BYTES
    if not total:
        yield memoryview(b"")
    at = 0
    while total:
        want = min(room, total)
        if views[0].nbytes - at >= want:
            yield views[0][at : at + want]
            at += want
        else:
            gathered = bytearray()
            while len(gathered) < want:
                piece = views[0][at : at + want - len(gathered)]
                gathered += piece
                at += len(piece)
                if at == views[0].nbytes and len(gathered) < want:
                    views.pop(0)
                    at = 0
            yield memoryview(gathered)
        if views and at == views[0].nbytes:
            views.pop(0)
            at = 0
        total -= want
        room = segment_bytes - TAG_BYTES


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + index.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


def _cipher(key: bytes, algorithm: int, salt: bytes, info: bytes) -> AESGCM | ChaCha20Poly1305:
    segment_key = HKDF(SHA256(), KEY_BYTES, salt, info).derive(check_key(key))
    return AESGCM(segment_key) if algorithm == Algorithm.AES_256_GCM else ChaCha20Poly1305(segment_key)
