"""The key store's file: `keys/keystore.db`, plain SQLite, every value in it wrapped.

It is outside the database and outside its backups. WAL with synchronous FULL: a commit is one fsync, and a
reader never waits for it. `secure_delete` zeroes what is removed; what the file system keeps of old blocks is
useless once the provider destroyed the epoch's slot.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ribcage.crypto.errors import KeyStoreFailure, KeyStoreNewer, KeyUnknown
from ribcage.guard.doubt import committing
from ribcage.guard.durable import sync_folder

FORMAT = 2

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE service (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE epoch (
  number INTEGER PRIMARY KEY, slot TEXT NOT NULL, wrapped BLOB,
  state TEXT NOT NULL CHECK (state IN ('active', 'retiring', 'destroyed')),
  created_at REAL NOT NULL, destroyed_at REAL
) STRICT;
CREATE TABLE wrap (
  key_id BLOB PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('patient', 'study', 'parked')),
  epoch INTEGER NOT NULL REFERENCES epoch (number), context BLOB NOT NULL, wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE destroyed (
  key_id BLOB PRIMARY KEY, epoch INTEGER NOT NULL, at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE blob (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""
_SINCE_2 = """
CREATE TABLE journal (height INTEGER PRIMARY KEY, block_time INTEGER NOT NULL, raw BLOB NOT NULL) STRICT;
CREATE TABLE head (size INTEGER PRIMARY KEY, note BLOB NOT NULL) STRICT;
"""


@contextmanager
def sqlite_failures() -> Iterator[None]:
    """Translate SQLite's errors into KeyStoreFailure, without values."""
    try:
        yield
    except sqlite3.Error as error:
        raise KeyStoreFailure(f"the key store cannot answer: {error.sqlite_errorname}") from error
    except OSError as error:
        raise KeyStoreFailure(f"the key store's file cannot be used: {error.strerror}") from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection usable from any one thread at a time; statements commit by themselves."""
    link = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    link.execute("PRAGMA journal_mode = WAL")
    link.execute("PRAGMA synchronous = FULL")
    link.execute("PRAGMA secure_delete = ON")
    link.execute("PRAGMA temp_store = MEMORY")
    link.execute("PRAGMA foreign_keys = ON")
    return link


def create_file(path: Path, hospital: bytes) -> sqlite3.Connection:
    """Make the file (mode 0600) with its tables; KeyStoreFailure when it exists."""
    with sqlite_failures():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        link = connect(path)
        with transaction(link):
            _run(link, _TABLES + _SINCE_2)
            link.execute(f"PRAGMA user_version = {FORMAT}")
            link.execute("INSERT INTO meta VALUES ('hospital', ?)", (hospital,))
        sync_folder(path.parent)
        return link


def open_file(path: Path, hospital: bytes) -> sqlite3.Connection:
    """Open and check format and hospital; an older format is upgraded. Raises KeyStoreNewer, KeyStoreFailure."""
    if not path.is_file():
        raise KeyStoreFailure(f"{path.name} is missing: restore it from the key store's own backup")
    with sqlite_failures():
        link = connect(path)
        try:
            link.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # docs/adr/0009: write and sync again
            _check(link, path.name, hospital)
        except BaseException:
            link.close()
            raise
        return link


def _run(link: sqlite3.Connection, statements: str) -> None:
    for statement in filter(None, map(str.strip, statements.split(";"))):
        link.execute(statement)


def _check(link: sqlite3.Connection, name: str, hospital: bytes) -> None:
    found = link.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise KeyStoreNewer(f"{name} has format {found}, this program reads {FORMAT}: use the newer Ribcage")
    if found < 1:
        raise KeyStoreFailure(f"{name} is no key store")
    row = link.execute("SELECT value FROM meta WHERE name = 'hospital'").fetchone()
    if row is None or row[0] != hospital:
        raise KeyStoreFailure(f"{name} belongs to another hospital")
    if found == 1:
        with transaction(link):
            _run(link, _SINCE_2)
            link.execute(f"PRAGMA user_version = {FORMAT}")


@contextmanager
def transaction(link: sqlite3.Connection) -> Iterator[None]:
    """One durable commit, or nothing."""
    link.execute("BEGIN IMMEDIATE")
    try:
        yield
        with committing():
            link.execute("COMMIT")
    except BaseException:
        if link.in_transaction:
            link.execute("ROLLBACK")
        raise


def forget_old_pages(link: sqlite3.Connection) -> None:
    """Move the write-ahead log into the file and cut it, so that it keeps no removed wrap."""
    busy, _, _ = link.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise KeyStoreFailure("the key store's log cannot be cut: another process reads it; close that one")


def is_destroyed(link: sqlite3.Connection, key_id: bytes) -> bool:
    """Whether this key has a tombstone and no wrap."""
    with sqlite_failures():
        gone = link.execute("SELECT 1 FROM destroyed WHERE key_id = ?", (key_id,)).fetchone()
        wrap = link.execute("SELECT 1 FROM wrap WHERE key_id = ?", (key_id,)).fetchone()
    return gone is not None and wrap is None


def end_of(link: sqlite3.Connection, key_id: bytes) -> tuple[int, str, int, int]:
    """`(epoch, its slot, keys destroyed with it, keys that live on)` of a destroyed key.

    Raises KeyUnknown, or KeyStoreFailure while its epoch is not destroyed yet.
    """
    with sqlite_failures():
        row = link.execute("SELECT epoch FROM destroyed WHERE key_id = ?", (key_id,)).fetchone()
        if row is None:
            raise KeyUnknown("this key was not destroyed")
        slot, state = link.execute("SELECT slot, state FROM epoch WHERE number = ?", row).fetchone()
        removed = link.execute("SELECT count(*) FROM destroyed WHERE epoch = ?", row).fetchone()
        survivors = link.execute("SELECT count(*) FROM wrap").fetchone()
    if state != "destroyed":
        raise KeyStoreFailure("the epoch of a destroyed key is still there: open the home again")
    return int(row[0]), str(slot), int(removed[0]), int(survivors[0])


def move_wraps(
    link: sqlite3.Connection,
    keep: Callable[[bytes, Any, bytes], bool],
    again: Callable[[bytes, Any, int, bytes, bytes], bytes],
    new: int,
    now: float,
) -> tuple[list[bytes], int]:
    """Inside a transaction: survivors get the wrap `again` makes for epoch `new`, the rest a tombstone.

    Returns `(removed key ids, survivors)`.
    """
    removed: list[bytes] = []
    survivors = 0
    for key_id, kind, epoch, owner, wrapped in link.execute(
        "SELECT key_id, kind, epoch, context, wrapped FROM wrap"
    ).fetchall():
        if keep(key_id, kind, owner):
            link.execute(
                "UPDATE wrap SET epoch = ?, wrapped = ? WHERE key_id = ?",
                (new, again(key_id, kind, epoch, owner, wrapped), key_id),
            )
            survivors += 1
        else:
            link.execute("DELETE FROM wrap WHERE key_id = ?", (key_id,))
            link.execute("INSERT INTO destroyed VALUES (?, ?, ?)", (key_id, epoch, now))
            removed.append(key_id)
    return removed, survivors


def give(
    link: sqlite3.Connection, key_id: bytes, kind: str, epoch: int, owner: bytes, wrapped: bytes
) -> None:
    """Inside a transaction: a key has another owner, and the wrap that is bound to it."""
    link.execute(
        "UPDATE wrap SET kind = ?, epoch = ?, context = ?, wrapped = ? WHERE key_id = ?",
        (kind, epoch, owner, wrapped, key_id),
    )


def copy_file(source: Path, target: Path, copied_at: float | None = None) -> None:
    """One consistent copy of a key store, which another process may have open, in a new file of mode 0600.

    It is whole in one file and synced; a time (Unix seconds) marks it as a copy. Raises KeyStoreFailure.
    """
    with sqlite_failures():
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        link = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            link.execute("VACUUM INTO ?", (str(target),))
        finally:
            link.close()
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("PRAGMA synchronous = FULL")
            if copied_at is not None:
                copy.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('copied-at', ?)", (repr(copied_at).encode(),)
                )
        finally:
            copy.close()
        sync_folder(target.parent)
