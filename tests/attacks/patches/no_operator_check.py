"""A front may name an operator as its principal."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.core import Actor, Core
from ribcage.guard.protocol import Operator


def apply(put: Put) -> None:
    strict = Core._operator

    def operator(self: Core, principal: Operator, _proved: bool) -> Actor:
        return strict(self, principal, True)

    put(Core, "_operator", operator)
