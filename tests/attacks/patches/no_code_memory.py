"""A one-time code that was used is not remembered."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.database.schema import session
from ribcage.guard.committer import Transaction
from ribcage.guard.people import People, Visitor


def apply(put: Put) -> None:
    def step_up(self: People, tx: Transaction, visitor: Visitor, code: str, now: float) -> None:
        self._matching_counter(visitor.person_id, code, now)
        live = self._sessions[visitor.session_id]
        self._rows.update(tx.connection, session, dict(live, second_factor_at=now))

    put(People, "step_up", step_up)
