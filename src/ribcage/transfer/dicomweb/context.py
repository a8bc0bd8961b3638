"""What the composition root gives the HTTP room: both doors, a cage and the limits; and a budget of bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ribcage.cage import Cage
from ribcage.capture.admit import WayIn
from ribcage.storage.ports import Guard
from ribcage.transfer.dicomweb.errors import Unavailable
from ribcage.transfer.dicomweb.event_hub import EventHub
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.usage.disclose import WayOut
from ribcage.usage.viewing import Viewings


class ByteBudget:
    """Bytes of request bodies that one front holds at once; beyond it peers are asked to come back."""

    def __init__(self, most: int) -> None:
        self._left = most

    @property
    def left(self) -> int:
        """Bytes that may still be taken."""
        return self._left

    @contextlib.contextmanager
    def hold(self) -> Iterator[Held]:
        """One request's share; leaving the context gives all of it back."""
        held = Held(self)
        try:
            yield held
        finally:
            held.give_back()

    def change(self, count: int) -> None:
        """Take (positive) or give back. Raises Unavailable beyond the budget."""
        if count > self._left:
            raise Unavailable("expected free memory for request bodies; send less at once")
        self._left -= count


class Held:
    """What one request holds of a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._taken = 0

    def take(self, count: int) -> None:
        """Hold `count` more bytes. Raises Unavailable."""
        self._budget.change(count)
        self._taken += count

    def give_back(self) -> None:
        """Give back everything held."""
        taken, self._taken = self._taken, 0
        self._budget.change(-taken)


@dataclass(frozen=True)
class WebContext:
    """Both doors, asked for at each request: after the guard came back the front gives new ones.

    Either callable raises GuardUnavailable while there is no guard. Who makes the `WayOut` also hands it the
    guard's pushes (`on_push`, `guard_lost`); `events` takes the same pushes.
    """

    way_in: Callable[[], WayIn]
    way_out: Callable[[], WayOut]
    limits: WebLimits = field(default_factory=WebLimits)
    cage: Cage | None = None
    budget: ByteBudget = field(init=False)
    viewings: Viewings = field(init=False)
    events: EventHub = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", EventHub(self.limits))
        object.__setattr__(self, "budget", ByteBudget(self.limits.max_held_bytes))
        viewings = Viewings(self.way_out, self.limits.viewing_idle_seconds, self.limits.max_viewings)
        object.__setattr__(self, "viewings", viewings)

    def guard(self) -> Guard:
        """The live connection to the guard. Raises GuardUnavailable."""
        return self.way_out().guard

    def pictures(self) -> Cage:
        """The cage of this front. Raises Unavailable where there is none."""
        if self.cage is None:
            raise Unavailable("expected a cage: none was given to this front")
        return self.cage

    async def close(self) -> None:
        """End what outlives requests: the cage, and the viewings with their closing entries."""
        if self.cage is not None:
            await self.cage.close()
        await self.viewings.close()
