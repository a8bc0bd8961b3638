"""Whatever patient the old PACS names, a study is the granted one."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import disclosure, elsewhere


def apply(put: Put) -> None:
    for room in (disclosure, elsewhere):
        put(room, "is_theirs", lambda *_: True)
