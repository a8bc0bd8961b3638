"""A refusal says whether the study exists."""

from __future__ import annotations

from typing import Any

from attacks.patches._put import Put
from ribcage.guard.decision import Denied
from ribcage.guard.disclosure import Disclosures
from ribcage.guard.errors import GuardRefused


def apply(put: Put) -> None:
    alike = Disclosures._refuse

    async def refuse(self: Disclosures, actor: Any, request: Any, study: Any, denied: Denied) -> GuardRefused:
        refused = await alike(self, actor, request, study, denied)
        return GuardRefused(denied.reason, refused.entry)

    put(Disclosures, "_refuse", refuse)
