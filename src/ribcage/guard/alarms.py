"""Alarms: what a person must hear of at once. Bounded, in memory; what must last stands in the log."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ribcage.guard.protocol import Alarm

_log = logging.getLogger("ribcage.guard")
_COUNTED = ("exposure", "certificates")  # their number is no access's
_MOST, _MOST_REFUSALS = 1000, 50
Listener = Callable[[Alarm], None]


class Alarms:
    """The alarms that stand, oldest first. Used on the guard's loop alone."""

    def __init__(self) -> None:
        self._standing: deque[Alarm] = deque(maxlen=_MOST)
        self._refusals: deque[Alarm] = deque(maxlen=_MOST_REFUSALS)  # they must not push out the others
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """`listener` hears each alarm from now on, on the guard's loop; it must neither block nor raise."""
        self._listeners.append(listener)

    def sound(self, alarm: Alarm) -> None:
        """Keep an alarm, say so in the guard's own log and tell who listens."""
        _log.critical("ALARM: %s, number %d", alarm.kind, alarm.number)
        (self._refusals if alarm.kind.endswith("-refused") else self._standing).append(alarm)
        for listener in self._listeners:
            listener(alarm)

    def name(self, at: float, number: int) -> None:
        """The break-glass access of that time has its number on the ledger now."""
        named = [
            Alarm(each.kind, at, number) if (each.at, each.number) == (at, -1) else each
            for each in self._standing
        ]
        self._standing = deque(named, maxlen=_MOST)

    def settle(self, number: int) -> None:
        """The break-glass access of this number was reviewed."""
        kept = [each for each in self._standing if each.number != number or each.kind in _COUNTED]
        self._standing = deque(kept, maxlen=_MOST)

    def end(self, kind: str, number: int) -> None:
        """The alarms of this kind and number are over."""
        kept = [each for each in self._standing if (each.kind, each.number) != (kind, number)]
        self._standing = deque(kept, maxlen=_MOST)

    def standing(self) -> list[Alarm]:
        """For `status`."""
        return sorted([*self._standing, *self._refusals], key=lambda alarm: alarm.at)
