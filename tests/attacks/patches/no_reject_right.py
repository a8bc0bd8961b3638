"""Every device that may store may reject."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import rejections


def apply(put: Put) -> None:
    put(rejections, "_check_right", lambda _: None)
