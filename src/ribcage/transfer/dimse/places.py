"""The places of one process: how many associations, from one address, and how many bytes not yet admitted."""

from __future__ import annotations

from collections import Counter
from typing import Protocol


class Drainable(Protocol):
    """An association as the front sees it when it stops."""

    def drain(self) -> None:
        """End as soon as nothing is in hand."""

    def kill(self) -> None:
        """End now."""


class Bounds(Protocol):
    """What `Places` holds to."""

    @property
    def max_connections(self) -> int:
        """Associations at once."""

    @property
    def max_connections_per_address(self) -> int:
        """Of these, from one address."""

    @property
    def max_buffered_bytes(self) -> int:
        """Of unfinished instances."""


class Places:
    """Counts for all associations of one process. Used on its event loop only."""

    limits: Bounds
    associations: set[Drainable]
    per_address: Counter[str]
    buffered_bytes: int
    draining: bool

    def hold(self, change_bytes: int) -> bool:
        """Count bytes held for unfinished instances. False: over the limit, give way."""
        self.buffered_bytes += change_bytes
        return change_bytes <= 0 or self.buffered_bytes <= self.limits.max_buffered_bytes

    def enter(self, association: Drainable, address: str) -> bool:
        """Count an association in. False: one too many, of this process or of this address."""
        self.associations.add(association)
        self.per_address[address] += 1
        return (
            not self.draining
            and len(self.associations) <= self.limits.max_connections
            and self.per_address[address] <= self.limits.max_connections_per_address
        )

    def leave(self, association: Drainable, address: str) -> None:
        """Count it out."""
        self.associations.discard(association)
        self.per_address[address] -= 1
        if self.per_address[address] <= 0:
            del self.per_address[address]
