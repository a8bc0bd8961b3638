"""What the key store remembers of ledger and log, so that a database put back to an older copy is noticed.

Rules, in order:
1. A change of rights is durable in the database first, then here, then it is answered. So this copy is never
   longer than the database's, unless the database is an older one.
2. The newest checkpoint is kept here before anybody outside sees it. So a log shorter than it is an older one.
3. While either says "older", the archive is closed and this memory stays as it is: a lawful restore needs it.
4. The same holds for a database that continued differently: rows and roots are compared, not only counted.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from ribcage.guard import _keystore as files

Row = tuple[int, int, bytes]  # height, block time in Unix seconds, raw transaction
_BUSY_MILLISECONDS = 60_000  # a new epoch may hold the file for seconds


class SecondJournal:
    """The tables `journal` and `head` of a key store, on a connection of its own. Raises KeyStoreFailure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with files.sqlite_failures():
            self._link = files.connect(path)
            self._link.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        self._lock = threading.Lock()

    @property
    def height(self) -> int:
        """Height of the newest transaction kept here, 0 for none."""
        with self._lock, files.sqlite_failures():
            return int(self._link.execute("SELECT coalesce(max(height), 0) FROM journal").fetchone()[0])

    def rows(self, after: int = 0) -> list[Row]:
        """Transactions above height `after`, in order."""
        with self._lock, files.sqlite_failures():
            query = "SELECT height, block_time, raw FROM journal WHERE height > ? ORDER BY height"
            return [(int(h), int(t), bytes(raw)) for h, t, raw in self._link.execute(query, (after,))]

    def append(self, rows: Iterable[Row]) -> None:
        """Keep more transactions, durably."""
        with self._lock, files.sqlite_failures(), files.transaction(self._link):
            self._link.executemany("INSERT INTO journal VALUES (?, ?, ?)", rows)

    def head(self) -> tuple[int, bytes] | None:
        """`(size, note)` of the newest checkpoint that was made, or None."""
        with self._lock, files.sqlite_failures():
            row = self._link.execute("SELECT size, note FROM head").fetchone()
        return None if row is None else (int(row[0]), bytes(row[1]))

    def remember_head(self, size: int, note: bytes) -> None:
        """Keep a newer checkpoint, durably, in place of the old one."""
        with self._lock, files.sqlite_failures(), files.transaction(self._link):
            self._link.execute("DELETE FROM head")
            self._link.execute("INSERT INTO head VALUES (?, ?)", (size, note))

    def holds(self, key_id: bytes) -> bool:
        """Whether the key store has a wrap of this key."""
        with self._lock, files.sqlite_failures():
            return self._link.execute("SELECT 1 FROM wrap WHERE key_id = ?", (key_id,)).fetchone() is not None

    def copy_to(self, target: Path, now: float) -> None:
        """Write the whole key store to a new file, marked as a copy made at `now` (Unix seconds)."""
        files.copy_file(self._path, target, now)

    def copied_at(self) -> float | None:
        """When this key store was copied; None for the one that lives."""
        with self._lock, files.sqlite_failures():
            row = self._link.execute("SELECT value FROM meta WHERE name = 'copied-at'").fetchone()
        return None if row is None else float(row[0].decode())

    def lives(self) -> None:
        """This copy takes the place of the one it was made of."""
        with self._lock, files.sqlite_failures(), files.transaction(self._link):
            self._link.execute("DELETE FROM meta WHERE name = 'copied-at'")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._link.close()


def older_than_key_store(stored: Iterable[Row], second: SecondJournal) -> list[str]:
    """Findings, empty when the database's journal continues the key store's; then what is missing here is added.

    `stored` are the database's rows in order, which the ledger has replayed: their signatures hold.
    """
    missing: list[Row] = []
    for ours, theirs in itertools.zip_longest(second.rows(), _plain(stored)):
        if theirs is None:
            return [
                f"the database ends before ledger height {ours[0]}, which the key store knows: it is an older "
                "copy, no image is disclosed; run `ribcage restore`"
            ]
        if ours is None:
            missing.append(theirs)
        elif ours != theirs:
            return [f"ledger height {theirs[0]} is not what the key store knows: no image is disclosed"]
    if missing:
        second.append(missing)
    return []


def _plain(rows: Iterable[Row]) -> Iterator[Row]:
    for height, moment, raw in rows:
        yield int(height), int(moment), bytes(raw)
