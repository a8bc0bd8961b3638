"""Hybrid HPKE once more: KEM MLKEM768-X25519, HKDF-SHA256, AES-256-GCM. Confirms what `crypto.hybrid` writes.

Written on ML-KEM-768, X25519, SHA-3 and HMAC alone, from draft-connolly-cfrg-xwing-kem and RFC 9180.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SUITE = b"HPKE" + bytes.fromhex("647a") + bytes.fromhex("0001") + bytes.fromhex("0002")
_XWING_LABEL = b"\\.//^\\"


def _extract(salt: bytes, label: bytes, key: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + _SUITE + label + key, "sha256")  # RFC 9180 4


def _expand(key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + _SUITE + label + info
    return hmac.digest(key, labelled + b"\x01", "sha256")[:length]  # one block is enough here


def open_(seed: bytes, info: bytes, sealed: bytes) -> bytes:
    """The plaintext of `enc[1120] ‖ ciphertext` (RFC 9180 6.1), for a seed of 64 and 32 bytes."""
    lattice, curve = (
        MLKEM768PrivateKey.from_seed_bytes(seed[:64]),
        X25519PrivateKey.from_private_bytes(seed[64:]),
    )
    to_lattice, to_curve, ciphertext = sealed[:1088], sealed[1088:1120], sealed[1120:]
    first = lattice.decapsulate(to_lattice)
    second = curve.exchange(X25519PublicKey.from_public_bytes(to_curve))
    public = curve.public_key().public_bytes_raw()
    shared = hashlib.sha3_256(first + second + to_curve + public + _XWING_LABEL).digest()
    context = b"\x00" + _extract(b"", b"psk_id_hash", b"") + _extract(b"", b"info_hash", info)
    secret = _extract(shared, b"secret", b"")
    key, nonce = _expand(secret, b"key", context, 32), _expand(secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")
