"""Requests from nobody we know (wrong session, unknown certificate): counted by address, one entry a minute.

A door that is tried a thousand times fills no disk, and the trying is seen.
"""

from __future__ import annotations

from collections import Counter

from ribcage.evidence.audit_event import AssociationRefused, StrangerActor
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.protocol import Device, Operator, Principal, Release, Session

_REASONS = {
    Session: "unknown-session",
    Device: "unknown-certificate",
    Operator: "not-an-operator",
    Release: "unknown-ticket",
}
_REMEMBERED = 4096
_ELSEWHERE = "::"  # where the addresses beyond those remembered are counted together


class Strangers:
    """Counts until `report` writes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def note(self, principal: Principal) -> None:
        """One refused request."""
        address = "" if isinstance(principal, Operator) else principal.address
        listener = "dicom" if isinstance(principal, Device) and principal.ae_title else "https"
        self.count(address, listener, _REASONS[type(principal)])

    def count(self, address: str, listener: str, reason: str) -> None:
        """One refused request, by its words."""
        key = (address, listener, reason)
        if key not in self._seen and len(self._seen) >= _REMEMBERED:
            key = (_ELSEWHERE, *key[1:])
        self._seen[key] += 1

    async def report(self) -> None:
        """One entry for each address and cause since the last report."""
        seen, self._seen = self._seen, Counter()
        if not seen:
            return

        def write(tx: Transaction) -> None:
            for (address, listener, reason), times in seen.items():
                event = AssociationRefused(StrangerActor(address), listener, reason, times)
                tx.append(self._core.entry(event))

        await self._core.committer.run(write)
