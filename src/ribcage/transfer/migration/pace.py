"""How fast: the old PACS still serves the hospital while it is emptied.

Rules, in order:
1. Bytes per second are counted over all workers together.
2. Outside the hours nothing new is asked for; a study that runs is finished.
3. Waiting ends at once when the run is to stop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_DAY_MINUTES = 24 * 60
_LOOK_SECONDS = 30.0


@dataclass(frozen=True)
class Hours:
    """Local time of day in minutes; `first` may lie after `last` (over midnight). Equal: always."""

    first: int = 0
    last: int = 0

    def open_at(self, minute: int) -> bool:
        """Whether this minute of the day lies within."""
        if self.first == self.last:
            return True
        return (minute - self.first) % _DAY_MINUTES < (self.last - self.first) % _DAY_MINUTES


class Pace:
    """Shared by all workers of one run."""

    def __init__(
        self,
        bytes_per_second: float = 0.0,
        hours: Hours | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = bytes_per_second
        self._hours = hours or Hours()
        self._clock = clock
        self._free_at = 0.0
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def take(self, octets: int) -> float:
        """Account for bytes that came, and wait until more may come. Returns the seconds waited."""
        if self._rate <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + octets / self._rate
            due = self._free_at - now
        self.stop.wait(due)
        return due

    def wait_for_hours(self) -> None:
        """Until the hours are open, or the run stops."""
        while not self._hours.open_at(_minute()) and not self.stop.wait(_LOOK_SECONDS):
            pass


def _minute() -> int:
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min
