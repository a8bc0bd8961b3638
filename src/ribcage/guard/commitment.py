"""Storage commitment: which of a device's own instances the archive answers for.

Rules, in order:
1. A device is told about what it sent, and about nothing else: an instance of somebody else is unknown.
2. Held means: the row is committed, its file is there with its length, and its study is not closed for destruction.
   Row, leaf and file were durable before the row could be read (`guard.ingest`).
3. What was sent again and kept once counts as sent, for as long as this guard runs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import sqlalchemy as sa

from ribcage.database.schema import instance
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.ingest import Ingest
from ribcage.guard.protocol import CheckCommitment, CommitmentChecked, Held

_ROWS_AT_ONCE = 500


class Commitments:
    """Answers for one guard."""

    def __init__(self, core: Core, ingest: Ingest) -> None:
        self._core = core
        self._ingest = ingest

    async def check(self, actor: Actor, request: CheckCommitment) -> CommitmentChecked:
        """One word for each reference, in order. Raises GuardRefused('not_permitted' | 'invalid')."""
        if actor.device is None or "store" not in actor.device.may:
            raise GuardRefused("not_permitted")
        if len(request.references) > self._core.limits.commitment_references:
            raise GuardRefused("invalid")
        return CommitmentChecked(held=await asyncio.to_thread(self._held, actor, request))

    def _held(self, actor: Actor, request: CheckCommitment) -> list[Held]:
        classes: dict[str, str] = {}
        uids = [uid for _, uid in request.references]
        with self._core.engine.connect() as connection:
            for first in range(0, len(uids), _ROWS_AT_ONCE):
                query = sa.select(instance).where(instance.c.uid.in_(uids[first : first + _ROWS_AT_ONCE]))
                for row in connection.execute(query).mappings():
                    if self._is_held(actor, row):
                        classes[str(row["uid"])] = str(row["sop_class_uid"])
        return [_word(classes.get(uid), sop_class) for sop_class, uid in request.references]

    def _is_held(self, actor: Actor, row: sa.RowMapping) -> bool:
        sent = row["source"] == actor.source or self._ingest.was_sent_again(actor, str(row["uid"]))
        if not sent or self._core.closed.closes(bytes(row["key_id"])):
            return False
        try:
            found = (Path(self._core.objects_root) / str(row["location"])).stat()
        except OSError:
            return False
        return found.st_size >= int(row["file_bytes"])  # a pack holds several


def _word(held: str | None, asked: str) -> Held:
    if held is None:
        return "unknown"
    return "held" if held == asked else "class_conflict"
