"""Plain DICOM goes to any address."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.transfer.migration import peer


def apply(put: Put) -> None:
    put(peer, "check_plain", lambda *_: None)
