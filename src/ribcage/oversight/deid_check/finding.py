"""What the checker found: one finding withdraws the release.

Rules, in order:
1. A finding never shows an identity: a digest under a key that dies with the run, and a count of characters.
2. A note tells and does not withdraw.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

KINDS: Final = {
    "identity": "something of a person, place or date of the originals is still in it",
    "pattern": "it looks like an e-mail address, telephone or ID number, position or EXIF block",
    "not-removed": "the table removes, empties or replaces this attribute; it is unchanged or still there",
    "lost": "an attribute that must be kept is gone or changed",
    "private": "a private attribute that no list calls safe",
    "reference": "identifiers are not mapped consistently",
    "dates": "dates are not shifted by one secret offset per patient",
    "marker": "what the file says about its de-identification is not so",
    "unpaired": "no original belongs to this file, so nothing kept can be verified",
    "unreadable": "it cannot be read as what it claims to be",
}


@dataclass(frozen=True)
class Finding:
    """`place` is a tag path or a layer; `offset` counts bytes of that place, -1 where there is none."""

    kind: str
    file: str
    place: str
    text: str
    offset: int = -1
    identity: str = ""


class Masker:
    """Names an identity without telling it; equal identities of one run get equal names."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key or secrets.token_bytes(32)

    def mask(self, kind: str, value: str) -> str:
        """`kind:digest/length`."""
        digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=self._key, digest_size=6)
        return f"{kind}:{digest.hexdigest()}/{len(value)}"
