"""What all associations of one front share, and the bounds on them together."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ribcage.cage import Cage
from ribcage.capture.admit import WayIn
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.storage.ports import Guard
from ribcage.transfer.dimse.places import Drainable, Places
from ribcage.transfer.limits import FrontLimits
from ribcage.transfer.refusals import Refusals
from ribcage.usage.disclose import WayOut


@dataclass
class DimseSite(Places):
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

    def drain(self) -> None:
        """Take no new associations and let the present ones finish what is in hand."""
        self.draining = True
        for association in list(self.associations):
            association.drain()
