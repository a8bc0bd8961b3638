"""`ribcage verify`: ask the guard to recompute everything, page by page, and look for files that no row names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ribcage.guard.protocol import Difference, VerifyAnswer, VerifyRequest
from ribcage.storage.objects import ObjectStore
from ribcage.storage.ports import Guard

Part = Literal["log", "ledger", "rows", "objects"]
PARTS: tuple[Part, ...] = ("log", "ledger", "rows", "objects")
_PAGE = 500


@dataclass
class VerifyReport:
    """What was recomputed and what differs. Strays are no difference: they were never acknowledged."""

    checked: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """No difference was found."""
        return not self.differences


async def verify_home(
    guard: Guard, objects: Path, progress: Callable[[str, int], None], parts: tuple[Part, ...] = PARTS
) -> VerifyReport:
    """Verify all parts. `guard` is an operator's connection. Raises GuardError."""
    report = VerifyReport()
    for part in parts:
        report.checked[part] = 0
        named: set[str] = set()
        cursor = 0
        while cursor >= 0:
            answer = await guard.call(VerifyRequest(part=part, cursor=cursor, count=_PAGE), VerifyAnswer)
            report.checked[part] += answer.checked
            report.differences += answer.differences
            named.update(answer.locations)
            cursor = answer.cursor
            progress(part, report.checked[part])
        if part == "objects":
            files = await asyncio.to_thread(lambda: list(ObjectStore(objects).list_files()))
            report.strays = sorted(str(each) for each in files if str(each) not in named)
    return report
