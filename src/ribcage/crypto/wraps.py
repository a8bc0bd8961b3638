"""Wrapped keys: AES-256-GCM with a random nonce, bound to a context.

Layout: `version u8 = 1 ‖ nonce[12] ‖ ciphertext ‖ tag[16]`.
Associated data: `field(label) ‖ field(context)`, label "ribcage/wrap/v1". A wrap that is moved to another
row, patient, hospital or epoch has another context and does not open.
Random nonces allow 2^32 wraps under one key (NIST SP 800-38D 8.3); an epoch stays far below.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ribcage.crypto._encode import check_key, field, fields
from ribcage.crypto.errors import FormatNewer, WrapBroken

VERSION = 1
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES

_WRAP_LABEL = b"ribcage/wrap/v1"


def context(*parts: bytes | str | int) -> bytes:
    """Encode the parts of a context unambiguously; integers as 8 bytes big-endian, text as UTF-8."""
    encoded = []
    for part in parts:
        if isinstance(part, str):
            encoded.append(b"s" + part.encode())
        elif isinstance(part, int):
            encoded.append(b"i" + part.to_bytes(8, "big"))
        else:
            encoded.append(b"b" + part)
    return fields(encoded)


def seal_small(label: bytes, key: bytes, bound: bytes, plaintext: bytes, nonce: bytes | None = None) -> bytes:
    """Seal a small value under `key`, bound to label and context; `nonce` is for test vectors only."""
    nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
    body = AESGCM(check_key(key)).encrypt(nonce, plaintext, field(label) + field(bound))
    return bytes([VERSION]) + nonce + body


def open_small(label: bytes, key: bytes, bound: bytes, sealed: bytes) -> bytes:
    """Open what `seal_small` made under the same label, key and context.

    Raises WrapBroken when it does not authenticate, FormatNewer for an unknown version.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise WrapBroken(f"expected at least {OVERHEAD_BYTES} bytes, got {len(sealed)}")
    if sealed[0] != VERSION:
        raise FormatNewer(f"expected version {VERSION} of a wrap, got {sealed[0]}: use the newer Ribcage")
    nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return AESGCM(check_key(key)).decrypt(nonce, body, field(label) + field(bound))
    except InvalidTag:
        raise WrapBroken("does not open: wrong key, moved from another context, or changed") from None


def wrap(kek: bytes, key: bytes, context: bytes, *, _nonce: bytes | None = None) -> bytes:
    """Wrap `key` (any length) under the 32-byte `kek`, bound to `context`."""
    return seal_small(_WRAP_LABEL, kek, context, key, _nonce)


def unwrap(kek: bytes, wrapped: bytes, context: bytes) -> bytes:
    """Unwrap; raises WrapBroken in another context, under another key, or after any change."""
    return open_small(_WRAP_LABEL, kek, context, wrapped)
