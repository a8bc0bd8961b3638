"""Requests join a viewing without a question to the guard."""

from __future__ import annotations

from typing import Any

from attacks.patches._put import Put
from ribcage.usage.viewing import Viewings


def apply(put: Put) -> None:
    async def may_join(_self: Any, viewing: Any, _principal: Any) -> bool:
        return bool(viewing.disclosure.alive)

    put(Viewings, "_may_join", may_join)
