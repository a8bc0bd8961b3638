"""Signed notes: text and the signatures under it (C2SP signed-note).

Rules, in order:
1. A note is UTF-8 without control characters other than newline: text ending in newline, an empty line, one
   signature line or more: `— NAME base64(key id[4] ‖ signature)`. The last empty line separates.
2. A key is known by name and key id: SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]. Other signatures are ignored.
3. Every signature by a known key must verify, and there must be one. Nothing of the text is used before that.
4. Base64 is accepted only as we would write it, so that one signature has one spelling.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from ribcage.crypto import signing
from ribcage.crypto.errors import SignatureBroken
from ribcage.evidence.errors import CheckpointForged, NoteMalformed

ED25519 = 0x01
COSIGNATURE_V1 = 0x04  # C2SP tlog-cosignature

MAX_NOTE_BYTES = 256 * 1024
MAX_SIGNATURES = 64
KEY_ID_BYTES = 4

_DASH = "\N{EM DASH}"


@dataclass(frozen=True)
class VerifierKey:
    """A named Ed25519 public key (32 bytes) of one signature type."""

    name: str
    public: bytes
    kind: int = ED25519

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def encode(self) -> str:
        """The text form `NAME+key id in hex+base64(type ‖ public key)`."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read the text form; raises `NoteMalformed` when it is damaged or of another type."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise NoteMalformed("expected a verifier key of the form NAME+HEX+BASE64")
        name, key_id, material = check_name(parts[0]), parts[1], from_base64(parts[2])
        if len(material) != 1 + signing.PUBLIC_KEY_BYTES or material[0] not in (ED25519, COSIGNATURE_V1):
            raise NoteMalformed("expected an Ed25519 verifier key of type 1 or 4")
        key = cls(name, material[1:], material[0])
        if key.key_id.hex() != key_id:
            raise NoteMalformed("the verifier key's id does not belong to its name and key: it was mistyped")
        return key


@dataclass(frozen=True)
class NoteSignature:
    """One signature line."""

    name: str
    key_id: bytes
    blob: bytes

    def encode(self) -> str:
        """The line, with its newline."""
        return f"{_DASH} {self.name} {to_base64(self.key_id + self.blob)}\n"

    @classmethod
    def parse(cls, line: str) -> NoteSignature:
        """Read one line without its newline; raises `NoteMalformed`."""
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != _DASH:
            raise NoteMalformed("expected a signature line of the form '— NAME BASE64'")
        blob = from_base64(parts[2])
        if len(blob) <= KEY_ID_BYTES:
            raise NoteMalformed("a signature line holds no signature")
        return cls(check_name(parts[1]), blob[:KEY_ID_BYTES], blob[KEY_ID_BYTES:])


@dataclass(frozen=True)
class Note:
    """Text (ending in newline) and its signatures, unverified."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return (self.text + "\n" + "".join(each.encode() for each in self.signatures)).encode()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Split a note; raises `NoteMalformed`. The text must not be used before `verify`."""
        if len(data) > MAX_NOTE_BYTES:
            raise NoteMalformed(f"expected a note of at most {MAX_NOTE_BYTES} bytes, got {len(data)}")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise NoteMalformed("a note is not UTF-8") from error
        if any(each < " " and each != "\n" for each in text) or not text.endswith("\n"):
            raise NoteMalformed("a note holds control characters or does not end in newline")
        body, separator, lines = text.rpartition("\n\n")
        if not separator or not body or not lines:
            raise NoteMalformed("a note has no text or no signature")
        split = lines[:-1].split("\n")
        if len(split) > MAX_SIGNATURES:
            raise NoteMalformed(f"expected at most {MAX_SIGNATURES} signatures, got {len(split)}")
        return cls(body + "\n", tuple(NoteSignature.parse(each) for each in split))

    def by(self, key: VerifierKey) -> list[NoteSignature]:
        """The signatures that claim to be by this key."""
        return [each for each in self.signatures if (each.name, each.key_id) == (key.name, key.key_id)]

    def verify(self, key: VerifierKey) -> None:
        """Check the note's plain Ed25519 signature by this key; raises `CheckpointForged`."""
        if key.kind != ED25519:
            raise CheckpointForged("expected a log's key (type 1), got a witness's key")
        found = self.by(key)
        if not found:
            raise CheckpointForged(f"no signature by the expected key {key.key_id.hex()}")
        for each in found:
            check_signature(key, each.blob, self.text.encode())


def check_signature(key: VerifierKey, signature: bytes, message: bytes) -> None:
    """Ed25519 over a message (RFC 8032); raises `CheckpointForged`."""
    try:
        signing.verify(key.public, signature, message)
    except SignatureBroken as error:
        raise CheckpointForged(f"the signature by key {key.key_id.hex()} does not verify") from error


def check_name(name: str) -> str:
    """Pass a key name: not empty, no white space, no plus, no control characters; raises `NoteMalformed`."""
    if not name or "+" in name or any(each.isspace() or each < " " for each in name):
        raise NoteMalformed("expected a key name without spaces and plus signs")
    return name


def to_base64(data: bytes) -> str:
    """Standard Base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode()


def from_base64(text: str) -> bytes:
    """Decode Base64 in its one canonical spelling; raises `NoteMalformed`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteMalformed("expected Base64 of RFC 4648 section 4") from error
    if to_base64(data) != text:
        raise NoteMalformed("expected Base64 in canonical form")
    return data
