"""Units whose transaction failed are answered all the same."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from attacks.patches._put import Put
from ribcage.guard.committer import Committer
from ribcage.guard.errors import GuardUnavailable


def apply(put: Put) -> None:
    strict = Committer._commit

    def commit(self: Committer, connection: sa.Connection, batch: list[Any]) -> None:
        strict(self, connection, batch)
        for unit in batch:
            if isinstance(unit.error, GuardUnavailable) and unit.result is not None:
                unit.error = None

    put(Committer, "_commit", commit)
