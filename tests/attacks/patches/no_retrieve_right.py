"""Every registered device may retrieve."""

from __future__ import annotations

from dataclasses import replace

from attacks.patches._put import Put
from ribcage.guard.devices import Devices, KnownDevice

_identify = Devices.identify


def apply(put: Put) -> None:
    def identify(self: Devices, fingerprint: bytes, ae_title: str | None, now: float) -> KnownDevice:
        known = _identify(self, fingerprint, ae_title, now)
        return replace(known, may=known.may | {"retrieve"})

    put(Devices, "identify", identify)
