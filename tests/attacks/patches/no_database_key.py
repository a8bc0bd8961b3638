"""The database is an ordinary SQLite file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from attacks.patches._put import Put
from ribcage.database import engine


def apply(put: Put) -> None:
    def connect(path: Path, _key: bytes) -> sqlite3.Connection:
        return sqlite3.connect(str(path), check_same_thread=False, isolation_level=None)

    put(engine, "sqlcipher", sqlite3)
    put(engine, "_connect", connect)
