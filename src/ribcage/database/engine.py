"""The engine: SQLCipher in WAL mode, every commit synced, the key never in an exception or a URL.

Rules, in order:
1. The raw key is the first statement on a new connection.
2. `synchronous=FULL`: COMMIT returns after fsync (DESIGN rule 2).
3. `secure_delete`: deleted cells are overwritten.
4. One writer (the guard's committer); readers use connections of their own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool
from sqlcipher3 import dbapi2 as sqlcipher

from ribcage.database.errors import DatabaseLocked

KEY_BYTES = 32
_BUSY_MILLISECONDS = 10_000
_READERS = 4


def open_engine(path: Path, key: bytes) -> sa.Engine:
    """An engine on `path`. Raises DatabaseLocked when `key` (32 bytes) does not open it."""
    if not path.exists():  # SQLite gives its other files the mode of this one
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = sa.create_engine(
        "sqlite://",
        module=sqlcipher,
        creator=lambda: _connect(path, key),
        poolclass=QueuePool,
        pool_size=_READERS + 1,
        max_overflow=2,
        pool_reset_on_return="rollback",
        hide_parameters=True,
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    return engine


def _connect(path: Path, key: bytes) -> Any:
    if len(key) != KEY_BYTES:
        raise DatabaseLocked(f"database key: expected {KEY_BYTES} bytes, got {len(key)}")
    connection = sqlcipher.connect(str(path), check_same_thread=False, isolation_level=None)
    try:
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        connection.execute("PRAGMA cipher_memory_security = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlcipher.DatabaseError:
        connection.close()
        raise DatabaseLocked(
            "the key does not open the database: is this the key store of this home?"
        ) from None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "secure_delete = ON",
        "foreign_keys = ON",
        f"busy_timeout = {_BUSY_MILLISECONDS}",
        "cache_size = -65536",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection
