"""Numbers that only grow, for `Metrics`: labels of a closed list, and histograms with fixed bounds.

Rules, in order:
1. A label that is not on its list is an error of this program, never a new label: nothing a peer sent becomes one.
2. Counting is an addition in memory; nothing waits, nothing is written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Generic, TypeVar

from ribcage.guard import protocol as p

_Label = TypeVar("_Label", bound=str)


class Tally(Generic[_Label]):
    """One number for each label. Changed on one thread; read from anywhere."""

    def __init__(self, labels: Sequence[_Label]) -> None:
        self._counts = dict.fromkeys(labels, 0)

    def add(self, label: _Label, count: int = 1) -> None:
        """Add `count`. Raises KeyError for a label that is not on the list (rule 1)."""
        self._counts[label] += count

    def read(self) -> dict[_Label, int]:
        """All of them, noughts included."""
        return dict(self._counts)


class Spread:
    """A histogram: how many observations lay up to each bound. Changed on one thread; read from anywhere."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """One observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> p.Histogram:
        """As it is now."""
        return p.Histogram(list(self._bounds), list(self._counts), self._total)
