"""The frozen leaf: what of an audit entry is public, and how it is opened (docs/formats.md 5.1).

Rules, in order:
1. leaf data = SHA-256(0x01 ‖ salt[32] ‖ body): public, and without the salt it tells nothing of the body.
2. leaf hash = SHA-256(0x00 ‖ leaf data), as in RFC 9162 2.1.1.
3. The body is the canonical JSON of the entry in UTF-8, at most `MAX_BODY_BYTES`. Salt and body stay sealed.
4. A proof is an opening: whoever holds salt and body recomputes the leaf, and nobody finds another pair.
"""

from __future__ import annotations

import hashlib
import hmac

from ribcage.evidence.errors import EntryInvalid, OpeningBroken
from ribcage.evidence.merkle import leaf_hash

LEAF_VERSION = 1
SALT_BYTES = 32
MAX_BODY_BYTES = 64 * 1024

_PREFIX = bytes([LEAF_VERSION])


def make_leaf(body: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Return (leaf data, leaf hash) of an entry, 32 bytes each.

    `salt` is 32 fresh random bytes for every entry. Raises `EntryInvalid` on a wrong salt or body length.
    """
    if len(salt) != SALT_BYTES:
        raise EntryInvalid(f"expected a salt of {SALT_BYTES} bytes, got {len(salt)}")
    if not 0 < len(body) <= MAX_BODY_BYTES:
        raise EntryInvalid(f"expected a body of 1 to {MAX_BODY_BYTES} bytes, got {len(body)}")
    data = hashlib.sha256(_PREFIX + salt + body).digest()
    return data, leaf_hash(data)


def open_leaf(body: bytes, salt: bytes, expected_hash: bytes) -> None:
    """Check that salt and body open the leaf with this leaf hash; raises `OpeningBroken`."""
    try:
        _, found = make_leaf(body, salt)
    except EntryInvalid as error:
        raise OpeningBroken(str(error)) from error
    if not hmac.compare_digest(found, expected_hash):
        raise OpeningBroken("salt and body do not open this leaf: one of them was changed")
