"""XML may bring a document type, and with it entities."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.dicom import native_reading


def apply(put: Put) -> None:
    put(native_reading, "_refuse", lambda *_: None)
