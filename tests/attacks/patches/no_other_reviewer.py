"""Who broke the glass may judge it."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.evidence.audit_event import PersonActor
from ribcage.guard.approvals import Approvals
from ribcage.guard.protocol import Approver


def apply(put: Put) -> None:
    strict = Approvals.verify

    async def verify(self: Approvals, by: Approver, not_also: bytes | None = None) -> PersonActor:
        return await strict(self, by)

    put(Approvals, "verify", verify)
