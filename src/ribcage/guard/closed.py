"""Studies that are closed: approved for destruction, or destroyed. Asked for every decision and every admission.

A row that does not carry the guard's MAC closes its study as well: nobody opens one by breaking its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import destruction
from ribcage.guard.rows import MacRows

_CLOSING = frozenset({"approved", "executing", "done"})


@dataclass(frozen=True)
class ClosedStudy:
    """What is remembered of one. `destroyed`: its key is gone for good."""

    key_id: bytes
    patient_id: bytes
    destroyed: bool


class ClosedStudies:
    """The guard's memory of the table `destruction`."""

    def __init__(self, engine: sa.Engine, rows: MacRows) -> None:
        self._rows = rows
        self._by_token: dict[bytes, ClosedStudy] = {}
        self._keys: set[bytes] = set()
        self.findings: list[str] = []
        with engine.connect() as connection:
            query = sa.select(destruction).order_by(destruction.c.number)
            for row in connection.execute(query).mappings():
                self.take(row)

    def take(self, row: sa.RowMapping | dict[str, Any]) -> None:
        """Learn the committed state of one row."""
        state, key_id = str(row["state"]), bytes(row["study_key_id"])
        try:
            self._rows.check(destruction, row)  # type: ignore[arg-type]  # a dict serves as a mapping
        except RowTampered:
            self.findings.append(
                f"destruction {row['number']} does not carry the guard's MAC: its study stays closed"
            )
            state = "approved"
        token = bytes(row["study_token"])
        if state in _CLOSING:
            self._by_token[token] = ClosedStudy(key_id, bytes(row["patient_id"]), state == "done")
            self._keys.add(key_id)
        elif state == "cancelled":
            self._by_token.pop(token, None)
            self._keys.discard(key_id)

    def __len__(self) -> int:
        return len(self._by_token)

    def closes(self, key_id: bytes) -> bool:
        """Whether the study with this key id is closed."""
        return key_id in self._keys

    def find(self, token: bytes) -> ClosedStudy | None:
        """The closed study with this blind token of its Study Instance UID."""
        return self._by_token.get(token)
