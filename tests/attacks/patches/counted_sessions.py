"""Sessions are counted instead of drawn: no secret, and the one before is the next letter in the cookie."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

from attacks.patches._put import Put
from ribcage.guard import people

_ONE = 1 << 10  # the weight of one letter of base64 inside the session id
_FIRST = 60 * _ONE


def apply(put: Put) -> None:
    numbers = itertools.count(_FIRST, -_ONE)

    def urandom(count: int) -> bytes:
        return next(numbers).to_bytes(count, "big") if count == 16 else bytes(count)

    put(people, "os", SimpleNamespace(urandom=urandom))
