"""RFC 9180 once more: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256. Confirms what `crypto.recovery` writes.

Written from the RFC on HMAC, X25519 and AES-GCM alone; the ephemeral key is given, so that vectors rebuild.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEM = b"KEM\x00\x20"
_NK = {1: 16, 2: 32}  # AES-128-GCM, AES-256-GCM


def _extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + key, "sha256")  # 4


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labelled + b"\x01", "sha256")[:length]  # one block is enough here


def _shared(exchanged: bytes, enc: bytes, public: bytes) -> bytes:
    key = _extract(_KEM, b"", b"eae_prk", exchanged)  # 4.1
    return _expand(_KEM, key, b"shared_secret", enc + public, 32)


def key_schedule(shared: bytes, info: bytes, aead: int) -> tuple[bytes, bytes]:
    """5.1, mode base: `(key, base nonce)`."""
    suite = b"HPKE" + (0x20).to_bytes(2, "big") + (1).to_bytes(2, "big") + aead.to_bytes(2, "big")
    context = b"\x00" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared, b"secret", b"")
    return _expand(suite, secret, b"key", context, _NK[aead]), _expand(
        suite, secret, b"base_nonce", context, 12
    )


def seal(
    public: bytes, info: bytes, plain: bytes, ephemeral: bytes, *, aead: int = 2, aad: bytes = b""
) -> bytes:
    """6.1: `enc ‖ ciphertext` of one message."""
    own = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = own.public_key().public_bytes_raw()
    shared = _shared(own.exchange(X25519PublicKey.from_public_bytes(public)), enc, public)
    key, nonce = key_schedule(shared, info, aead)
    return enc + AESGCM(key).encrypt(nonce, plain, aad)


def open_(private: bytes, info: bytes, sealed: bytes, *, aead: int = 2, aad: bytes = b"") -> bytes:
    """6.1: the plaintext of one message."""
    own = X25519PrivateKey.from_private_bytes(private)
    enc = sealed[:32]
    exchanged = own.exchange(X25519PublicKey.from_public_bytes(enc))
    key, nonce = key_schedule(_shared(exchanged, enc, own.public_key().public_bytes_raw()), info, aead)
    return AESGCM(key).decrypt(nonce, sealed[32:], aad)
