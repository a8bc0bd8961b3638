"""A visit is whose the last message says."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import care_told
from ribcage.guard.care_rows import CareRows


def apply(put: Put) -> None:
    def relation_row(_self: CareRows, _connection: object, _token: bytes) -> None:
        return None

    put(CareRows, "relation_row", relation_row)
    joined = care_told.joined
    count = iter(range(1 << 30))
    put(care_told, "joined", lambda *parts: joined(*parts, str(next(count))))
