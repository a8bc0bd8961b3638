"""A front's doors, of an archive or of a shield: the same rooms, with the old PACS behind them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

from ribcage.capture.admit import WayIn
from ribcage.capture.errors import NotStored
from ribcage.storage.objects import ObjectStore
from ribcage.storage.ports import Guard, Octets
from ribcage.transfer.limits import FrontSettings
from ribcage.transfer.shield.errors import PacsError
from ribcage.transfer.shield.gate import Bounds, Gate
from ribcage.transfer.shield.objects import MemoryObjects
from ribcage.transfer.shield.pacs import Pacs
from ribcage.usage.disclose import WayOut


@dataclass(frozen=True)
class Doors:
    """What the protocols of a front are built on. `pacs` None: images are our own."""

    guard: Guard
    objects: ObjectStore
    way_in: WayIn
    way_out: WayOut
    pacs: Pacs | None = None


class _Onward:
    """Implements `ribcage.capture.onward.Onward`."""

    def __init__(self, pacs: Pacs) -> None:
        self._pacs = pacs

    async def store(
        self, sop_class: str, uid: str, syntax: str, data: Octets, allowed: Awaitable[object]
    ) -> int:
        try:
            return await self._pacs.store(sop_class, uid, syntax, data, allowed)
        except PacsError as failure:
            raise NotStored(str(failure), sop_class, uid) from failure


def build_doors(guard: Guard, settings: FrontSettings) -> Doors:
    """Of an archive, or of a shield where `settings.pacs` says so. Raises SettingsRefused."""
    if settings.pacs is None:
        own = ObjectStore(settings.objects_folder)
        return Doors(guard, own, WayIn(guard, own, settings.scan), WayOut(guard, own))
    settings.pacs.check()
    pacs = Pacs(settings.pacs, settings.upper_layer)
    held = MemoryObjects(settings.pacs.max_leaving_bytes)
    gate = Gate(guard, pacs, held, Bounds(settings.limits.find_answers, scan=settings.scan))
    way_in = WayIn(gate, held, settings.scan, _Onward(pacs))
    return Doors(gate, held, way_in, WayOut(gate, held, opened_at_once=1), pacs)
