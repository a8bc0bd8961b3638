"""Every certificate is a device that may do everything."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.devices import Devices, KnownDevice

_ALL = frozenset({"store", "query", "retrieve"})


def apply(put: Put) -> None:
    def identify(_self: Devices, _fingerprint: bytes, ae_title: str | None, _now: float) -> KnownDevice:
        return KnownDevice(bytes(16), "anybody", frozenset({ae_title or ""}), _ALL, "radiology")

    put(Devices, "identify", identify)
