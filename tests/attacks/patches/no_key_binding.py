"""An object is opened with the key its row names, whatever study was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from attacks.patches._put import Put
from ribcage.database.schema import study
from ribcage.guard import catalogue, disclosure
from ribcage.guard.core import Core
from ribcage.guard.protocol import OpenedObject


def apply(put: Put) -> None:
    bound = disclosure._opened

    def opened(core: Core, live: Any, row: sa.RowMapping, shape: Any) -> OpenedObject:
        with core.engine.connect() as connection:
            named = sa.select(study.c.uid).where(study.c.key_id == row["key_id"])
            held = catalogue.hold(core, connection, str(connection.execute(named).scalar_one()))
        return bound(core, replace(live, study=held), row, shape)

    put(disclosure, "_opened", opened)
