"""The clock is trusted while it agrees with the kernel's own count of seconds (DESIGN rule 5).

Rules, in order:
1. Wall time and boot time (CLOCK_BOOTTIME: it counts sleep, nobody can set it) are read together and compared with
   the anchor. More than 5 s back or more than 5 min forward: the clock was stepped.
2. While it is stepped nothing is disclosed, listed, granted or destroyed: a grant could have come back to life, or a
   deadline arrived early. Storing and revoking go on; entries carry the time counted on from the anchor.
3. When the clock is right again the guard goes on by itself. Slow drift is followed: the anchor moves by at most a
   second for every minute that passed. An operator may accept the new time instead.
4. At the start the newest entry of the log is the anchor: a clock more than 5 s before it was stepped back. A step
   forward while the guard was down looks like time that passed: it is not noticed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from ribcage.guard.errors import GuardRefused

MOST_BACK_SECONDS = 5.0
MOST_FORWARD_SECONDS = 300.0
_FOLLOWED = 1 / 60  # seconds of drift followed for each second that passed

Step = Literal["", "back", "forward"]


def boot_seconds() -> float:
    """Seconds since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClockWatch:
    """Compares two clocks. `wall` in Unix seconds, `boot` monotonic seconds; both are readings, not settings."""

    def __init__(
        self, wall: Callable[[], float], boot: Callable[[], float] = boot_seconds, newest_entry: float = 0.0
    ) -> None:
        self._wall = wall
        self._boot = boot
        self._anchor_wall, self._anchor_boot = wall(), boot()
        if self._anchor_wall < newest_entry - MOST_BACK_SECONDS:
            self._anchor_wall = newest_entry  # rule 4: time cannot be earlier than this
        self.stepped: Step = ""
        self.last_right = self._anchor_wall  # when the clock was last seen to be right, Unix seconds
        self.look()

    @property
    def off_seconds(self) -> float:
        """How far the wall clock is ahead of where it should be; negative: behind."""
        return (self._wall() - self._anchor_wall) - (self._boot() - self._anchor_boot)

    def look(self) -> bool:
        """Read both clocks; True when the state changed. Costs about a microsecond."""
        boot = self._boot()
        passed = boot - self._anchor_boot
        off = (self._wall() - self._anchor_wall) - passed
        step: Step = ""
        if off < -MOST_BACK_SECONDS:
            step = "back"
        elif off > MOST_FORWARD_SECONDS:
            step = "forward"
        elif passed >= 1.0:  # rule 3: drift is followed slowly
            followed = max(min(off, passed * _FOLLOWED), -passed * _FOLLOWED)
            self._anchor_wall += passed + followed
            self._anchor_boot = boot
        if not step:
            self.last_right = self._wall()
        changed, self.stepped = step != self.stepped, step
        return changed

    def trusted(self) -> float:
        """The time for entries and blocks, in Unix seconds: the wall clock; while it is stepped, counted on."""
        self.look()
        return self._anchor_wall + (self._boot() - self._anchor_boot) if self.stepped else self._wall()

    def check(self) -> None:
        """Raises GuardRefused('unavailable') while the clock cannot be trusted."""
        self.look()
        if self.stepped:
            raise GuardRefused("unavailable")

    def accept(self) -> None:
        """The operator says that this is the time."""
        self._anchor_wall, self._anchor_boot = self._wall(), self._boot()
        self.stepped = ""

    def findings(self) -> list[str]:
        """For `status`."""
        if not self.stepped:
            return []
        return [
            f"the clock was stepped {self.stepped} by {abs(self.off_seconds):.0f} s: nothing is disclosed, listed, "
            "granted or destroyed; set it right, or `ribcage clock accept`"
        ]
