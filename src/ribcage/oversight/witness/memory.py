"""What a witness remembers: plain SQLite, readable by whoever audits it.

Rules, in order:
1. Check and store are one transaction, alone (BEGIN IMMEDIATE), durable (WAL, synchronous FULL) before the line is
   handed out. So neither two requests at once nor a crash in between make two histories.
2. Whatever was cosigned stays: triggers refuse to change or delete it.
3. A checkpoint that was cosigned already gets its stored line again; nothing grows by repeating.
4. A fork closes the old origin and starts the new one from the newest cosigned head that the restored log includes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ribcage.evidence.checkpoint import Cosigner, add_signature
from ribcage.evidence.errors import NoteMalformed
from ribcage.evidence.fork import Fork, read_fork, split_origin
from ribcage.evidence.merkle import EMPTY_ROOT
from ribcage.evidence.note import ED25519, Note, VerifierKey
from ribcage.evidence.witness_protocol import AddCheckpoint, LogMemory, judge
from ribcage.guard.durable import sync_folder
from ribcage.oversight.witness.errors import ForkRefused, WitnessHomeUnusable

FORMAT = 1
_BUSY_SECONDS = 5.0
_TABLES = """
CREATE TABLE log (
  origin TEXT PRIMARY KEY, key TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,
  text TEXT NOT NULL, line TEXT NOT NULL, closed TEXT NOT NULL
) STRICT;
CREATE TABLE cosigned (
  number INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL REFERENCES log (origin),
  size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX cosigned_size ON cosigned (origin, size);
CREATE TABLE fork (
  old TEXT PRIMARY KEY REFERENCES log (origin), new TEXT NOT NULL UNIQUE, statement BLOB NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE TRIGGER cosigned_stays BEFORE UPDATE ON cosigned BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER cosigned_kept BEFORE DELETE ON cosigned BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER fork_stays BEFORE UPDATE ON fork BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER fork_kept BEFORE DELETE ON fork BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""


@dataclass(frozen=True)
class Cosigned:
    """One checkpoint with the witness's line, and when it was cosigned (Unix seconds)."""

    size: int
    root: bytes
    note: bytes
    at: int


class WitnessMemory:
    """The file `memory.db`. Usable from any thread. Raises WitnessHomeUnusable."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise WitnessHomeUnusable(f"{path} is missing: this is no witness's home, or its memory was lost")
        with _failures():
            self._link = _connect(path)
            found = int(self._link.execute("PRAGMA user_version").fetchone()[0])
        if found != FORMAT:
            self._link.close()
            raise WitnessHomeUnusable(f"{path} has format {found}, this program knows {FORMAT}")
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: Path) -> WitnessMemory:
        """A new, empty memory."""
        with _failures():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            link = _connect(path)
            link.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {FORMAT};COMMIT;")
            link.close()
            sync_folder(path.parent)
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._link.close()

    # --- logs -------------------------------------------------------------------------------------------

    def trust(self, key: VerifierKey) -> None:
        """Remember this log from now on.

        Raises ForkRefused when its origin has another key here, or when it continues a log that is known here: that
        is a fork, and only a statement says what was lost.
        """
        if key.kind != ED25519:
            raise ForkRefused("expected a log's verifier key (type 1), got a witness's")
        with self._transaction():
            known = self._log(key.name)
            if known is None:
                self._check_first(key.name)
                self._insert(key, 0, EMPTY_ROOT)
            elif known.key != key:
                raise ForkRefused(
                    f"{key.name} is known with key {known.key.key_id.hex()}: a log never changes its key"
                )

    def logs(self) -> dict[str, LogMemory]:
        """Every log, by origin."""
        with self._lock, _failures():
            origins = [str(row[0]) for row in self._link.execute("SELECT origin FROM log ORDER BY origin")]
            found = {origin: self._log(origin) for origin in origins}
        return {origin: memory for origin, memory in found.items() if memory is not None}

    def history(self, origin: str) -> list[Cosigned]:
        """Every checkpoint of this origin that was cosigned, oldest first."""
        with self._lock, _failures():
            rows = self._link.execute(
                "SELECT size, root, note, at FROM cosigned WHERE origin = ? ORDER BY number", (origin,)
            ).fetchall()
        return [Cosigned(*row) for row in rows]

    def forks(self) -> list[tuple[bytes, int]]:
        """`(statement, recorded at in Unix seconds)` of every fork, oldest first."""
        with self._lock, _failures():
            return list(self._link.execute("SELECT statement, at FROM fork ORDER BY at, rowid"))

    # --- the two acts -----------------------------------------------------------------------------------

    def add(self, request: AddCheckpoint, cosigner: Cosigner, now: int) -> str:
        """Check, store durably, and only then return the cosignature line. Raises `WitnessRefused`."""
        with self._transaction():
            memory = self._log(request.origin)
            head = judge(memory, request)
            text = Note.parse(request.note).text
            if memory is not None and memory.text == text:
                return memory.line
            line = cosigner.sign(text, now)
            self._link.execute(
                "UPDATE log SET size = ?, root = ?, text = ?, line = ? WHERE origin = ?",
                (head.size, head.root, text, line, head.origin),
            )
            self._link.execute(
                "INSERT INTO cosigned (origin, size, root, note, at) VALUES (?, ?, ?, ?, ?)",
                (head.origin, head.size, head.root, add_signature(request.note, line), now),
            )
        return line

    def fork(self, statement: bytes, now: int) -> Fork:
        """Record a lawful fork. Raises ForkRefused, `EvidenceError` for a statement that does not hold."""
        fork = read_fork(statement)
        with self._transaction():
            old = self._log(fork.old.origin)
            if old is None:
                raise ForkRefused(f"this witness does not know {fork.old.origin}")
            if old.closed:
                raise ForkRefused(f"{fork.old.origin} was closed already and goes on as {old.closed}")
            if (old.size, old.root) != (fork.old.size, fork.old.root):
                raise ForkRefused(
                    f"the statement names a head of {fork.old.size} entries, this witness remembers {old.size}: "
                    "restore again with `--witnessed`, from `ribcage witness show --origin … --note`"
                )
            if self._log(fork.new_origin) is not None:
                raise ForkRefused(f"{fork.new_origin} is known already")
            size, root = self._newest(fork.old.origin, fork.restored.size)
            if size == fork.restored.size and root != fork.restored.root:
                raise ForkRefused(f"what was restored has another root of size {size} than this witness saw")
            self._insert(fork.new_key, size, root)
            self._link.execute(
                "INSERT INTO fork (old, new, statement, at) VALUES (?, ?, ?, ?)",
                (fork.old.origin, fork.new_origin, statement, now),
            )
            self._link.execute(
                "UPDATE log SET closed = ? WHERE origin = ?", (fork.new_origin, fork.old.origin)
            )
        return fork

    def _newest(self, origin: str, most: int) -> tuple[int, bytes]:
        """The newest cosigned head of at most this size, of this log or of those it came from."""
        row = self._link.execute(
            "SELECT size, root FROM cosigned WHERE origin = ? AND size <= ? ORDER BY size DESC LIMIT 1",
            (origin, most),
        ).fetchone()
        if row is not None:
            return int(row[0]), bytes(row[1])
        before = self._link.execute("SELECT statement FROM fork WHERE new = ?", (origin,)).fetchone()
        if before is None:
            return 0, EMPTY_ROOT
        fork = read_fork(bytes(before[0]))
        return self._newest(fork.old.origin, min(most, fork.restored.size))

    def _check_first(self, origin: str) -> None:
        try:
            first, _ = split_origin(origin)
        except NoteMalformed:
            return  # a log of another program
        rows = self._link.execute(
            "SELECT origin FROM log WHERE origin = ? OR origin LIKE ?", (first, f"{first}/%")
        )
        if known := rows.fetchone():
            raise ForkRefused(
                f"{origin} goes on from {known[0]}: record the statement of the restore with `ribcage witness fork`"
            )

    # --- rows -------------------------------------------------------------------------------------------

    def _insert(self, key: VerifierKey, size: int, root: bytes) -> None:
        self._link.execute(
            "INSERT INTO log VALUES (?, ?, ?, ?, '', '', '')", (key.name, key.encode(), size, root)
        )

    def _log(self, origin: str) -> LogMemory | None:
        row = self._link.execute(
            "SELECT key, size, root, text, line, closed FROM log WHERE origin = ?", (origin,)
        ).fetchone()
        return None if row is None else LogMemory(VerifierKey.parse(row[0]), *row[1:])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable commit, or nothing."""
        with self._lock, _failures():
            self._link.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._link.execute("COMMIT")
            finally:
                if self._link.in_transaction:
                    self._link.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    link = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
    link.execute("PRAGMA journal_mode = WAL")
    link.execute("PRAGMA synchronous = FULL")
    link.execute("PRAGMA foreign_keys = ON")
    return link


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise WitnessHomeUnusable(f"the witness's memory cannot answer: {error.sqlite_errorname}") from error
    except OSError as error:
        raise WitnessHomeUnusable(f"the witness's memory cannot be used: {error.strerror}") from error
