"""Something that two holders open together and neither alone: sealed to one key pair, and that to another.

Rules, in order:
1. HPKE twice (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM): first to the second holder,
   what that gives to the first. `info` names both public keys and the layer.
2. Who seals needs public keys alone, and can open nothing afterwards. It authenticates nobody: anybody can seal.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ribcage.crypto._encode import KEY_BYTES, check_key, field
from ribcage.crypto.errors import SharesRefused

_LABEL = b"ribcage/two-holders/v1"
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def new_holder() -> tuple[bytes, bytes]:
    """A fresh `(private key, public key)`, 32 bytes each."""
    pair = X25519PrivateKey.generate()
    return pair.private_bytes_raw(), pair.public_key().public_bytes_raw()


def public_of(private_key: bytes) -> bytes:
    """The public key of a private one."""
    return X25519PrivateKey.from_private_bytes(check_key(private_key)).public_key().public_bytes_raw()


def info(first: bytes, second: bytes, layer: int) -> bytes:
    """What a layer is bound to (docs/formats.md 11.2)."""
    return field(_LABEL) + field(first) + field(second) + bytes([layer])


def seal_for_two(first: bytes, second: bytes, plain: bytes) -> bytes:
    """Seal to two public keys. Raises SharesRefused for one twice, or what is no key."""
    if first == second or {len(first), len(second)} != {KEY_BYTES}:
        raise SharesRefused("expected the public keys of two different holders")
    sealed = plain
    try:
        for layer, public in ((2, second), (1, first)):
            key = X25519PublicKey.from_public_bytes(public)
            sealed = _SUITE.encrypt(sealed, key, info(first, second, layer))
    except ValueError:
        raise SharesRefused("a holder's public key is no point to seal to") from None
    return sealed


def open_by_two(first: bytes, second: bytes, sealed: bytes) -> bytes:
    """The plaintext, for both private keys in the order of sealing. Raises SharesRefused."""
    publics, opened = (public_of(first), public_of(second)), sealed
    try:
        for layer, private in ((1, first), (2, second)):
            key = X25519PrivateKey.from_private_bytes(private)
            opened = _SUITE.decrypt(opened, key, info(*publics, layer))
    except (InvalidTag, ValueError):
        raise SharesRefused("these two keys do not open it, or it was changed") from None
    return opened
