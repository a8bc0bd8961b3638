"""A registered device may call itself what it likes."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.devices import Devices, KnownDevice


def apply(put: Put) -> None:
    bound = Devices.identify

    def identify(self: Devices, fingerprint: bytes, _ae_title: str | None, now: float) -> KnownDevice:
        return bound(self, fingerprint, None, now)

    put(Devices, "identify", identify)
