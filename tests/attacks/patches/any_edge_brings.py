"""An edge may bring what names another one."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import edges


def apply(put: Put) -> None:
    put(edges, "_check_sender", lambda *_: None)
