"""Power loss at every step of a migration: the database is the old one or the new one, and opens."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from crash.disk import Disk
from crash.recorder import Recorder
from helpers.older_homes import at_revision, revisions
from ribcage.database.engine import open_engine
from ribcage.database.migrate import migrate
from ribcage.database.schema import meta

KEY = b"k" * 32
DICE = 3

# "planted": every statement commits by itself, as the driver does when nobody begins a transaction.
_UPGRADE = """
import sys
from pathlib import Path
from ribcage.database import engine, migrate
opened = engine.open_engine(Path(sys.argv[1]), b"k" * 32)
if sys.argv[2] == "planted":
    from sqlalchemy import Connection
    run = Connection.exec_driver_sql
    Connection.exec_driver_sql = lambda self, text, *more, **named: run(
        self, "SELECT 1" if text.startswith("BEGIN") else text, *more, **named)
migrate.migrate(opened)
(Path(sys.argv[1]).parent / "done").mkdir()  # stands in the recording
opened.dispose()
"""


def _wrong(library: Path, folder: Path, mode: str) -> list[str]:
    """What is wrong at any position of one recorded upgrade."""
    home = folder / "disk"
    home.mkdir(parents=True)
    engine = open_engine(home / "a.db", KEY)
    at_revision(engine, "0001")
    with engine.begin() as connection:
        connection.execute(sa.insert(meta).values(name="kept", value="here"))
    engine.dispose()
    disk = Disk(home)
    recorder = Recorder(library, home, folder / "trace")
    command = [sys.executable, "-c", _UPGRADE, str(home / "a.db"), mode]
    subprocess.run(command, check=True, env=os.environ | recorder.environment, timeout=120)
    records, wrong = recorder.records(), []
    done = next(each.position for each in records if each.names and each.names[0].endswith("/done"))
    for position in range(len(records) + 1):
        disk.advance(records, position)
        for seed in range(DICE):
            left = folder / f"left-{position}-{seed}"
            disk.write(left, random.Random(seed * 100_003 + position))
            found = _look(left / "a.db")
            if found not in (["0001", revisions()[-1]] if position < done else [revisions()[-1]]):
                wrong.append(f"after operation {position}: {found}")
    return wrong


def _look(path: Path) -> str:
    """The revision before the next start; something else where that start fails or a row is gone."""
    engine = open_engine(path, KEY)
    try:
        with engine.connect() as connection:
            before = str(MigrationContext.configure(connection).get_current_revision())
        migrate(engine)
        with engine.connect() as connection:
            kept = connection.execute(sa.select(meta.c.value).where(meta.c.name == "kept")).scalar()
        return before if kept == "here" else "the row is gone"
    except Exception as failure:
        return f"does not open: {type(failure).__name__}"
    finally:
        engine.dispose()


def test_upgrade_is_done_or_not_begun_after_power_loss_at_any_step(library: Path, place: Path) -> None:
    assert _wrong(library, place / "upgrade", "as it is") == []


def test_upgrade_in_pieces_is_found(library: Path, place: Path) -> None:
    assert _wrong(library, place / "upgrade-planted", "planted") != []
