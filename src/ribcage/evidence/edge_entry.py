"""One film on its way from an edge to the archive: what stands before its sealed bytes, and what stands in them
(`docs/formats.md`, 12).

Rules, in order:
1. `entry = header[176] ‖ wrapped key[1168] ‖ signature[64] ‖ sealed`. Ids, a number, a time, lengths and hashes are
   all that is clear: no name, no UID, no AE title.
2. The wrapped key opens with the archive's private half and this very header alone (`key_info`).
3. The signature is the edge's, over the header and the SHA-256 of the wrapped key; the header names the SHA-256 of
   the sealed bytes and of the data set. So one signature covers everything.
4. The sealed bytes are one object of the sealing format; its plaintext is the context, then the data set bit for bit.
5. Bytes in, decision out: parsing says what is damaged, `verify` who signed; neither returns a verdict to forget.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, fields

from ribcage.crypto import signing
from ribcage.crypto._encode import field
from ribcage.crypto.errors import SignatureBroken
from ribcage.crypto.hybrid import SEALED_BYTES as WRAPPED_BYTES
from ribcage.crypto.sealing import Envelope, Stream
from ribcage.crypto.signing import SIGNATURE_BYTES, Signer
from ribcage.evidence.entry import ENTRY_VERSION, Json, canonical, parse
from ribcage.evidence.errors import EdgeEntryRefused, EntryInvalid

MAGIC = b"RBES"
VERSION = 1
ALGORITHM = 1  # HPKE MLKEM768-X25519, HKDF-SHA256, AES-256-GCM; Ed25519; AES-256-GCM-HKDF streaming
MAX_CONTEXT_BYTES = 4096
_HEADER = struct.Struct(">4sBBH16s16s16s16s16sQQQ32s32s")
HEADER_BYTES = _HEADER.size
FRONT_BYTES = HEADER_BYTES + WRAPPED_BYTES + SIGNATURE_BYTES
_LENGTH = struct.Struct(">I")
_KEY_DOMAIN = b"ribcage/edge/key/v1"
_SIGN_DOMAIN = b"ribcage/edge/entry/v1"
_MOST = (1 << 63) - 1


@dataclass(frozen=True)
class EntryHeader:
    """What is clear. Ids have 16 bytes, hashes 32; `taken_ms`: Unix milliseconds by the edge's clock.

    `edge` and `device` are the archive's ids of the edge and of the modality behind it, `archive_key` names the key
    it is sealed to, `tag` is the edge's own word for the instance and opaque to everybody else.
    """

    edge: bytes
    device: bytes
    archive_key: bytes
    object_id: bytes
    tag: bytes
    sequence: int
    taken_ms: int
    sealed_bytes: int
    data_set_sha256: bytes
    sealed_sha256: bytes

    def encode(self) -> bytes:
        """The 176 bytes."""
        return _HEADER.pack(
            MAGIC, VERSION, ALGORITHM, 0, self.edge, self.device, self.archive_key, self.object_id, self.tag,
            self.sequence, self.taken_ms, self.sealed_bytes, self.data_set_sha256, self.sealed_sha256,
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> EntryHeader:
        """Raises EdgeEntryRefused."""
        if len(data) < HEADER_BYTES:
            raise EdgeEntryRefused(f"expected a header of {HEADER_BYTES} bytes, got {len(data)}")
        magic, version, algorithm, zero, *values = _HEADER.unpack(data[:HEADER_BYTES])
        if magic != MAGIC or zero:
            raise EdgeEntryRefused("no entry of an edge: it does not begin with RBES")
        if (version, algorithm) != (VERSION, ALGORITHM):
            raise EdgeEntryRefused(
                f"expected version {VERSION}, algorithm {ALGORITHM}, got {version}, {algorithm}: "
                "use the newer Ribcage"
            )
        header = cls(*values)
        if not 1 <= header.sequence <= _MOST or header.taken_ms > _MOST or header.sealed_bytes > _MOST:
            raise EdgeEntryRefused("a number of the header is out of range")
        return header

    def envelope(self, hospital: bytes) -> Envelope:
        """The envelope of the sealed bytes."""
        return Envelope(Stream.OTHER, 0, hospital, self.archive_key, self.object_id)


def key_info(header: EntryHeader) -> bytes:
    """What the object's key is bound to (rule 2)."""
    return field(_KEY_DOMAIN) + field(header.encode())


@dataclass(frozen=True)
class EntryFront:
    """All before the sealed bytes."""

    header: EntryHeader
    wrapped: bytes
    signature: bytes

    @classmethod
    def sign(cls, header: EntryHeader, wrapped: bytes, signer: Signer) -> EntryFront:
        """Sign as the edge (rule 3)."""
        return cls(
            header, wrapped, signer.sign(signed_bytes(header.encode(), hashlib.sha256(wrapped).digest()))
        )

    @classmethod
    def parse(cls, data: bytes) -> EntryFront:
        """Exactly `FRONT_BYTES`. Raises EdgeEntryRefused."""
        if len(data) != FRONT_BYTES:
            raise EdgeEntryRefused(f"expected {FRONT_BYTES} bytes before the sealed ones, got {len(data)}")
        wrapped = data[HEADER_BYTES : HEADER_BYTES + WRAPPED_BYTES]
        return cls(EntryHeader.parse(data), wrapped, data[-SIGNATURE_BYTES:])

    def encode(self) -> bytes:
        """The bytes."""
        return self.header.encode() + self.wrapped + self.signature

    @property
    def digest(self) -> bytes:
        """SHA-256 of these bytes: names the entry, sealed bytes included by their hash."""
        return hashlib.sha256(self.encode()).digest()

    def verify(self, public_key: bytes) -> None:
        """Raises EdgeEntryRefused unless the edge with this Ed25519 key signed it."""
        verify_signed(self.header.encode(), hashlib.sha256(self.wrapped).digest(), self.signature, public_key)


def signed_bytes(header: bytes, wrapped_sha256: bytes) -> bytes:
    """What the edge signs (rule 3)."""
    return field(_SIGN_DOMAIN) + field(header) + field(wrapped_sha256)


def verify_signed(header: bytes, wrapped_sha256: bytes, signature: bytes, public_key: bytes) -> None:
    """Raises EdgeEntryRefused."""
    try:
        signing.verify(public_key, signature, signed_bytes(header, wrapped_sha256))
    except SignatureBroken as failure:
        raise EdgeEntryRefused("not signed by this edge, or changed since") from failure


@dataclass(frozen=True)
class EntryContext:
    """How the film came: what the modality's C-STORE said, and from where."""

    calling: str
    called: str
    address: str
    sop_class: str
    sop_instance: str
    transfer_syntax: str

    def encode(self) -> bytes:
        """`uint32 length ‖ canonical JSON`, before the data set (rule 4). Raises EdgeEntryRefused."""
        told: Json = {each.name: str(getattr(self, each.name)) for each in fields(self)}
        try:
            text = canonical({"version": ENTRY_VERSION, **told})
        except EntryInvalid as failure:
            raise EdgeEntryRefused("the context of a film cannot be written") from failure
        if len(text) > MAX_CONTEXT_BYTES:
            raise EdgeEntryRefused(
                f"expected a context of at most {MAX_CONTEXT_BYTES} bytes, got {len(text)}"
            )
        return _LENGTH.pack(len(text)) + text


def split_context(plain: bytes) -> tuple[EntryContext, int]:
    """The context at the beginning of the plaintext, and where the data set begins. Raises EdgeEntryRefused."""
    size = _LENGTH.unpack_from(plain)[0] if len(plain) >= _LENGTH.size else MAX_CONTEXT_BYTES + 1
    end = _LENGTH.size + size
    if size > MAX_CONTEXT_BYTES or len(plain) < end:
        raise EdgeEntryRefused("the context of a film is damaged")
    names = {each.name for each in fields(EntryContext)}
    try:
        told = parse(plain[_LENGTH.size : end])
    except EntryInvalid as failure:
        raise EdgeEntryRefused("the context of a film is damaged") from failure
    values = {name: value for name, value in told.items() if name in names and isinstance(value, str)}
    if set(told) != {*names, "version"} or set(values) != names:
        raise EdgeEntryRefused("the context of a film lacks something, or says more")
    return EntryContext(**values), end
