"""Every registered device has every right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from attacks.patches._put import Put
from ribcage.guard.devices import RIGHTS, Devices


def apply(put: Put) -> None:
    strict = Devices.identify

    def identify(self: Devices, *asked: Any) -> Any:
        return replace(strict(self, *asked), may=frozenset(RIGHTS))

    put(Devices, "identify", identify)
