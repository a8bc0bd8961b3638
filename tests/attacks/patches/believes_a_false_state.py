"""A ledger that is known to lack a change counts as the last known state."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import break_glass, decision
from ribcage.guard.core import Actor, Core
from ribcage.ledger import calls
from ribcage.ledger.client import Verdict


def apply(put: Put) -> None:
    def last_known(core: Core, actor: Actor, resources: tuple[bytes, ...]) -> Verdict:
        return core.ledger.last_known(actor.subject, resources, calls.Purpose.ETREAT)

    for module in (break_glass, decision):
        put(module, "last_known", last_known)
