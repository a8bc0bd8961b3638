"""Key derivation: HKDF-SHA256 (RFC 5869) without salt; every use has a label of its own.

`info = "ribcage/derive/v1" ‖ field(label) ‖ field(context)`, `field = uint32 big-endian length ‖ bytes`.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ribcage.crypto._encode import KEY_BYTES, check_key, field

_DOMAIN = b"ribcage/derive/v1"
ID_BYTES = 16


def derive(key: bytes, label: str, context: bytes = b"") -> bytes:
    """Derive a 32-byte key from a 32-byte key for one labelled use and context."""
    info = _DOMAIN + field(label.encode()) + field(context)
    return HKDF(SHA256(), KEY_BYTES, None, info).derive(check_key(key))


def object_key(study_key: bytes, *, hospital: bytes, key_id: bytes, object_id: bytes, stream: int) -> bytes:
    """The key of one stream of one object; the ids have 16 bytes, `stream` is the envelope's (1, 2, 3)."""
    for name, value in (("hospital", hospital), ("key_id", key_id), ("object_id", object_id)):
        if len(value) != ID_BYTES:
            raise ValueError(f"{name} has {ID_BYTES} bytes, got {len(value)}")
    return derive(study_key, "object", hospital + key_id + object_id + bytes([stream]))
