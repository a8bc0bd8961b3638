"""What all associations of one front share, and the bounds on them together."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ribcage.cage import Cage
from ribcage.capture.admit import WayIn
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.storage.ports import Guard
from ribcage.transfer.limits import FrontLimits
from ribcage.transfer.refusals import Refusals
from ribcage.usage.disclose import WayOut


class Drainable(Protocol):
    """An association as the front sees it when it stops."""

    def drain(self) -> None:
        """End as soon as nothing is in hand."""

    def kill(self) -> None:
        """End now."""


@dataclass
class DimseSite:
    """Shared by all associations of a front. Used on its event loop only."""

    guard: Guard
    way_in: WayIn
    way_out: WayOut
    refusals: Refusals
    called_ae_titles: frozenset[str]
    limits: FrontLimits
    upper_layer: UpperLayerLimits
    cage: Cage
    client_context: Callable[[], ssl.SSLContext]  # raises IdentityUnusable
    shield: bool = False  # images are an old PACS's: no commitment in its name, nor relational queries
    associations: set[Drainable] = field(default_factory=set)
    buffered_bytes: int = 0
    draining: bool = False
    per_address: Counter[str] = field(default_factory=Counter)

    def hold(self, change_bytes: int) -> bool:
        """Count bytes held for unfinished instances. False: over the front's limit, give way."""
        self.buffered_bytes += change_bytes
        return change_bytes <= 0 or self.buffered_bytes <= self.limits.max_buffered_bytes

    def enter(self, association: Drainable, address: str) -> bool:
        """Count an association in. False: one too many, of this front or of this address."""
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

    def drain(self) -> None:
        """Take no new associations and let the present ones finish what is in hand."""
        self.draining = True
        for association in list(self.associations):
            association.drain()
