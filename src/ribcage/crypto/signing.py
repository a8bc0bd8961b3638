"""Ed25519 (RFC 8032) from a 32-byte seed, for checkpoints, receipts and certificates of destruction."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ribcage.crypto._encode import check_key
from ribcage.crypto.errors import SignatureBroken

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32


class Signer:
    """Signs with the key of one seed."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(check_key(seed))
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature."""
        return self._key.sign(message)


def verify(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Raise SignatureBroken unless `signature` is by `public_key` (32 bytes) over `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise SignatureBroken("the signature does not verify under this key") from None
