"""Any AE title is a destination."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.destinations import Destinations
from ribcage.guard.protocol import DestinationKnown


def apply(put: Put) -> None:
    put(Destinations, "known", lambda *_: DestinationKnown(bytes(32), "127.0.0.1", 104))
