"""Answers are given when everything is written, before COMMIT has returned."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from attacks.patches._put import Put
from ribcage.guard.committer import Committer


def apply(put: Put) -> None:
    strict = Committer._commit

    def commit(self: Committer, connection: sa.Connection, batch: list[Any]) -> None:
        flush = self._flush_keys

        def flush_and_answer() -> None:
            flush()
            for unit in batch:
                unit.loop.call_soon_threadsafe(unit.settle)

        self._flush_keys = flush_and_answer
        try:
            strict(self, connection, batch)
        finally:
            self._flush_keys = flush

    put(Committer, "_commit", commit)
