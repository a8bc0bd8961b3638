"""Certificates of devices that end soon: an alarm that stands until none does."""

from __future__ import annotations

from ribcage.guard.core import Core
from ribcage.guard.protocol import Alarm

_LOOK_SECONDS = 600.0
_DAY_SECONDS = 86_400


class Expiry:
    """Looks from time to time; `tick` is called often."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._next = 0.0
        self._told = 0

    def tick(self) -> None:
        """Count what ends within `expiry_warning_days`, or has ended, and sound when the count changes."""
        now = self._core.clock_watch.trusted()
        if now < self._next:
            return
        self._next = now + _LOOK_SECONDS
        until = now + self._core.limits.expiry_warning_days * _DAY_SECONDS
        count = sum(term.not_after < until for term in self._core.devices.terms())
        if count != self._told:
            self._core.alarms.end("certificates", self._told)
            if count:
                self._core.alarms.sound(Alarm("certificates", now, count))
            self._told = count
