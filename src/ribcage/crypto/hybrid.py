"""Hybrid sealing of one key to somebody who is not here: HPKE with ML-KEM-768 and X25519 together.

Rules, in order (`docs/formats.md`, 12):
1. RFC 9180, base mode, KEM MLKEM768-X25519, HKDF-SHA256, AES-256-GCM, one message: a recorded seal holds as long as
   either of the two holds.
2. Everything that belongs to the key goes into `info`: with another the seal does not open.
3. Base mode authenticates no sender: who seals signs besides.
4. Who has the public key alone cannot open what they sealed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ribcage.crypto._encode import KEY_BYTES, check_key
from ribcage.crypto.errors import SealBroken

SEED_BYTES = 64 + KEY_BYTES  # of ML-KEM-768 (FIPS 203 7.1: d, z), then the X25519 private key
PUBLIC_BYTES = 1184 + KEY_BYTES
SEALED_BYTES = 1088 + KEY_BYTES + KEY_BYTES + 16  # ciphertext, ephemeral key, key, tag
KEY_ID_BYTES = 16
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def new_seed() -> bytes:
    """96 random bytes: the private key."""
    return os.urandom(SEED_BYTES)


def key_id(public_key: bytes) -> bytes:
    """16 bytes that name a public key."""
    return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True)
class HybridPrivate:
    """A private key from its seed. Raises ValueError for another length."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise ValueError(f"a hybrid seed has {SEED_BYTES} bytes, got {len(self.seed)}")

    @property
    def public_key(self) -> bytes:
        """Its public half: ML-KEM-768, then X25519."""
        lattice, curve = self._halves()
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def open_key(self, sealed: bytes, info: bytes) -> bytes:
        """The key that was sealed with this `info`. Raises SealBroken."""
        try:
            key = _SUITE.decrypt(sealed, hpke.MLKEM768X25519PrivateKey(*self._halves()), info=info)
        except (InvalidTag, ValueError) as failure:
            raise SealBroken(
                "the sealed key does not open: other key, other context, or changed"
            ) from failure
        if len(key) != KEY_BYTES:
            raise SealBroken(f"expected a sealed key of {KEY_BYTES} bytes, got {len(key)}")
        return key

    def _halves(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        lattice, curve = self.seed[:-KEY_BYTES], self.seed[-KEY_BYTES:]
        return MLKEM768PrivateKey.from_seed_bytes(lattice), X25519PrivateKey.from_private_bytes(curve)


def seal_key(public_key: bytes, key: bytes, info: bytes) -> bytes:
    """Seal a 32-byte key to the holder of the private half. Raises SealBroken for a public key that is none."""
    if len(public_key) != PUBLIC_BYTES:
        raise SealBroken(f"expected a hybrid public key of {PUBLIC_BYTES} bytes, got {len(public_key)}")
    try:
        lattice = MLKEM768PublicKey.from_public_bytes(public_key[:-KEY_BYTES])
        curve = X25519PublicKey.from_public_bytes(public_key[-KEY_BYTES:])
        return _SUITE.encrypt(check_key(key), hpke.MLKEM768X25519PublicKey(lattice, curve), info=info)
    except ValueError as failure:
        raise SealBroken("the hybrid public key is damaged") from failure
