"""An object is opened with the key its row names, whatever study was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from attacks.patches._put import Put
from ribcage.database.schema import study
from ribcage.guard import catalogue
from ribcage.guard.disclosure import Disclosures
from ribcage.guard.protocol import OpenedObject


def apply(put: Put) -> None:
    bound = Disclosures._opened

    def opened(self: Disclosures, live: Any, row: sa.RowMapping) -> OpenedObject:
        with self._core.engine.connect() as connection:
            named = sa.select(study.c.uid).where(study.c.key_id == row["key_id"])
            held = catalogue.hold(self._core, connection, str(connection.execute(named).scalar_one()))
        return bound(self, replace(live, study=held), row)

    put(Disclosures, "_opened", opened)
