"""What the exposure self-check of `ribcage serve` found: an entry and an alarm for each, an entry when it is gone.

Rules, in order:
1. The guard looks at no socket itself: it is told, as of refused handshakes, and keeps what it is told bounded.
2. What is new since the last look is entered, then sounds; what is gone is entered, and its alarm ends.
"""

from __future__ import annotations

from ribcage.evidence.audit_event import ExposureChanged, SystemActor
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import Alarm, ExposureItem, Noted, ReportExposure

_MOST = 100
_ACTOR = SystemActor("supervisor")


class Exposure:
    """What stands open, as far as was told. Used on the guard's loop alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._standing: set[ExposureItem] = set()

    async def report(self, request: ReportExposure) -> Noted:
        """Take a look's findings. Raises GuardRefused, GuardUnavailable."""
        if len(request.items) > _MOST:
            raise GuardRefused("invalid")
        core, told = self._core, set(request.items)
        found, gone = sorted(told - self._standing, key=_order), sorted(self._standing - told, key=_order)
        if not found and not gone:
            return Noted()

        def write(tx: Transaction) -> None:
            for each in found:
                tx.append(core.entry(ExposureChanged(_ACTOR, "found", each.what, each.scope, each.port)))
            for each in gone:
                tx.append(core.entry(ExposureChanged(_ACTOR, "gone", each.what, each.scope, each.port)))

        await core.committer.run(write)
        self._standing = told
        for each in gone:
            core.alarms.end("exposure", each.port)
        for each in found:
            core.alarms.sound(Alarm("exposure", core.clock(), each.port))
        return Noted()


def _order(item: ExposureItem) -> tuple[int, str, str]:
    return item.port, item.what, item.scope
