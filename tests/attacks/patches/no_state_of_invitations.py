"""An invitation opens whatever became of it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from attacks.patches._put import Put
from ribcage.database.schema import invitation
from ribcage.guard.committer import Transaction
from ribcage.guard.patient_access import PatientAccess


def apply(put: Put) -> None:
    def open_invitation(
        _self: PatientAccess, tx: Transaction, token: bytes, _now: float
    ) -> dict[str, Any] | None:
        query = sa.select(invitation).where(invitation.c.token_sha256 == token)
        row = tx.connection.execute(query).mappings().one_or_none()
        return None if row is None else dict(row)

    put(PatientAccess, "_open_invitation", open_invitation)
