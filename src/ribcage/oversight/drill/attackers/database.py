"""The database administrator's hands: open the file with the key that an administrator has, find the tables."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .kit import Brief, GaveUp


@contextmanager
def opened(brief: Brief) -> Iterator[Any]:
    """A connection to the stolen database, committed at the end. Raises GaveUp when it does not open."""
    path, key = brief["database"]["path"], brief["database"]["key"]
    module: Any = importlib.import_module("sqlcipher3.dbapi2" if key else "sqlite3")
    connection = module.connect(path)
    try:
        if key:
            connection.execute(f"PRAGMA key = \"x'{key}'\"")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield connection
        connection.commit()
    except module.Error as failure:
        raise GaveUp(f"the database did not take it: {type(failure).__name__}") from None
    finally:
        connection.close()


def tables(connection: Any) -> dict[str, list[str]]:
    """Column names of every table."""
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')] for name in names}


def table_with(connection: Any, *columns: str) -> str:
    """The first table that has all these columns. Raises GaveUp."""
    for name, there in tables(connection).items():
        if set(columns) <= set(there):
            return name
    raise GaveUp(f"no table has {' and '.join(columns)}")
