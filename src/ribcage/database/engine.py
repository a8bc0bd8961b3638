"""The engine: SQLCipher in WAL mode, every commit synced, the key never in an exception or a URL.

Rules, in order:
1. The raw key is the first statement on a new connection.
2. `synchronous=FULL`: COMMIT returns after fsync (DESIGN rule 2).
3. `secure_delete`: deleted cells are overwritten.
4. What a write-ahead log holds when the file is opened is written into the file and synced before anything else: a
   sync that failed before may have left it in memory only (docs/adr/0009).
5. One writer (the guard's committer); readers use connections of their own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool
from sqlcipher3 import dbapi2 as sqlcipher

from ribcage.database.errors import DatabaseFailing, DatabaseLocked

KEY_BYTES = 32
_BUSY_MILLISECONDS = 10_000
_READERS = 4
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "foreign_keys = ON",
    f"busy_timeout = {_BUSY_MILLISECONDS}",
    "cache_size = -65536",
)
_DISK_FAILED = ("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_FULL")


def open_engine(path: Path, key: bytes) -> sa.Engine:
    """An engine on `path`. Raises DatabaseLocked when `key` (32 bytes) does not open it, DatabaseFailing."""
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
        try:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sa.exc.DBAPIError as failure:
            raise DatabaseFailing(
                "the disk does not take what the database's write-ahead log holds: mend it and start again"
            ) from failure
    return engine


def _connect(path: Path, key: bytes) -> Any:
    if len(key) != KEY_BYTES:
        raise DatabaseLocked(f"database key: expected {KEY_BYTES} bytes, got {len(key)}")
    connection = sqlcipher.connect(str(path), check_same_thread=False, isolation_level=None)
    try:
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        connection.execute("PRAGMA cipher_memory_security = OFF")  # docs/adr/0015
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlcipher.DatabaseError as failure:
        connection.close()
        if failure.sqlite_errorname.startswith(_DISK_FAILED):
            raise DatabaseFailing("the disk does not give the database: mend it and start again") from None
        raise DatabaseLocked(
            "the key does not open the database: is this the key store of this home?"
        ) from None
    return connection
