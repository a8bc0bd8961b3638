"""A home as an older Ribcage left it: its database at an earlier revision, its key store in an earlier format.

Later revisions add tables and columns; rows of what was there before are carried over as they are.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from helpers.guard_house import PASSPHRASE
from ribcage.crypto.provider import FileKeyProvider
from ribcage.database.engine import open_engine
from ribcage.database.migrate import SCRIPTS
from ribcage.guard.keyring import Keyring
from ribcage.guard.place import read_facts


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return config


def revisions() -> list[str]:
    """All known revisions, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


def make_older(home: Path, revision: str, key_store_format: int = 1) -> None:
    """Put a stopped home back to `revision` and the key store's format, its rows kept."""
    provider = FileKeyProvider.open(home / "keys" / "provider.json", PASSPHRASE)
    keyring = Keyring.open(home / "keys" / "keystore.db", provider, read_facts(home).hospital)
    key = keyring.service("database")
    keyring.close()
    path = home / "database" / "ribcage.db"
    older = home / "database" / "older.db"
    now, then = open_engine(path, key), open_engine(older, key)
    at_revision(then, revision)
    with now.connect() as source, then.begin() as target:
        new, old = sa.MetaData(), sa.MetaData()
        new.reflect(now)
        old.reflect(then)
        for table in old.sorted_tables:
            if table.name == "alembic_version":
                continue
            columns = [new.tables[table.name].c[column.name] for column in table.columns]
            rows = [dict(row) for row in source.execute(sa.select(*columns)).mappings()]
            if table.name == "meta":
                rows = [row for row in rows if row["name"] != "program"]  # nobody wrote it then
            if rows:
                target.execute(sa.insert(table), rows)
    for engine in (now, then):
        engine.dispose()
    for each in path.parent.glob("ribcage.db*"):
        each.unlink()
    for each in path.parent.glob("older.db*"):
        shutil.move(each, path.parent / each.name.replace("older.db", "ribcage.db"))
    if key_store_format == 1:
        with sqlite3.connect(home / "keys" / "keystore.db", isolation_level=None) as link:
            link.execute("DROP TABLE journal")
            link.execute("DROP TABLE head")
            link.execute("PRAGMA user_version = 1")
        link.close()


def at_revision(engine: sa.Engine, revision: str) -> None:
    """An empty database of this revision."""
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
