"""Who broke the glass may judge it, on the machine and in the browser."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.evidence.audit_event import PersonActor
from ribcage.guard.approvals import Approvals
from ribcage.guard.core import Actor
from ribcage.guard.protocol import Approver


def apply(put: Put) -> None:
    strict = Approvals.verify

    async def verify(self: Approvals, by: Approver, not_also: bytes | None = None) -> PersonActor:
        return await strict(self, by)

    put(Approvals, "verify", verify)
    loose = Approvals.who

    async def who(self: Approvals, actor: Actor, by: Approver | None, not_also: bytes) -> PersonActor:
        return await loose(self, actor, by, b"")

    put(Approvals, "who", who)
