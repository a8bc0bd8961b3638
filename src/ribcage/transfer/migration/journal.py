"""The journal of a migration: what the old PACS announced, what came, what the archive acknowledged.

Rules, in order:
1. One SQLite file in a folder of its own (mode 0700): UIDs, hashes and states; no name, number or date of a patient.
2. A line says `acknowledged` only after the archive's answer. What is lost by a crash is at most what was
   acknowledged and not yet written: it is fetched again, and the archive keeps no second copy.
3. The folder belongs to one source and to one process at a time.
4. A study is `done` when nothing of what it announced is due any more. It opens again when the old PACS announces
   more, or when the operator asks for what failed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ribcage.transfer.migration.errors import JournalUnusable

State = Literal["announced", "acknowledged", "refused", "missing"]
_VERSION = 1
_PAGE = 500
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE study (
  pk INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, announced INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'open');
CREATE TABLE instance (
  pk INTEGER PRIMARY KEY, study INTEGER NOT NULL REFERENCES study, uid TEXT NOT NULL, series TEXT NOT NULL,
  sop_class TEXT NOT NULL, listed INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  sha256 BLOB, octets INTEGER NOT NULL DEFAULT 0, UNIQUE (study, uid));
CREATE INDEX study_state ON study (state);
"""


@dataclass(frozen=True)
class Listed:
    """One instance as the old PACS lists it; `sop_class` "" where it does not say."""

    uid: str
    series_uid: str
    sop_class: str


@dataclass(frozen=True)
class StudyTodo:
    """A study that is not done."""

    pk: int
    uid: str


@dataclass(frozen=True)
class Line:
    """A study with its announced number (`uid` ""), or one of its instances. `sha256`: of its data set as it came."""

    study_uid: str
    announced: int
    uid: str = ""
    sha256: bytes = b""
    reason: str = ""


@dataclass(frozen=True)
class Progress:
    """Numbers of studies and instances."""

    studies: int
    done: int
    listed: int
    acknowledged: int
    refused: int
    missing: int
    octets: int


class Journal:
    """Open by `open_journal`. Safe to use from several threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._claimed = 0

    def close(self) -> None:
        """Write what is pending and close."""
        with self._lock:
            self._connection.commit()
            self._connection.close()

    # --- what the old PACS says -------------------------------------------------------------------------

    def announce(self, studies: Sequence[tuple[str, int]]) -> None:
        """Studies with their number of instances (0: it does not say). More than before opens a study again."""
        with self._lock, self._connection as tx:
            tx.executemany(
                "INSERT INTO study (uid, announced) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET"
                " state = CASE WHEN excluded.announced > announced THEN 'open' ELSE state END,"
                " announced = max(announced, excluded.announced)",
                studies,
            )

    def unreadable(self, count: int) -> None:
        """Answers of the last listing that named no study."""
        with self._lock, self._connection as tx:
            tx.execute("INSERT OR REPLACE INTO meta VALUES ('unreadable', ?)", (str(count),))

    def list_instances(self, study: StudyTodo, listed: Sequence[Listed]) -> list[Listed]:
        """Note what a study consists of; returns what is still due."""
        with self._lock, self._connection as tx:
            tx.executemany(
                "INSERT INTO instance (study, uid, series, sop_class, listed, state)"
                " VALUES (?, ?, ?, ?, 1, 'announced') ON CONFLICT (study, uid) DO UPDATE SET listed = 1",
                [(study.pk, each.uid, each.series_uid, each.sop_class) for each in listed],
            )
            rows = tx.execute(
                "SELECT uid, series, sop_class FROM instance WHERE study = ? AND state = 'announced'",
                (study.pk,),
            )
            return [Listed(*row) for row in rows]

    # --- what happens -----------------------------------------------------------------------------------

    def claim(self) -> StudyTodo | None:
        """The next study that is not done and that this run has not tried yet."""
        with self._lock:
            query = "SELECT pk, uid FROM study WHERE state = 'open' AND pk > ? ORDER BY pk LIMIT 1"
            row = self._connection.execute(query, (self._claimed,)).fetchone()
            if row is None:
                return None
            self._claimed = int(row[0])
            return StudyTodo(*row)

    def note(self, study: StudyTodo, uid: str, state: State, reason: str, sha256: bytes, octets: int) -> None:
        """The archive answered for one instance."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO instance (study, uid, series, sop_class, listed, state, reason, sha256, octets)"
                " VALUES (?, ?, '', '', 0, ?, ?, ?, ?) ON CONFLICT (study, uid) DO UPDATE SET"
                " state = excluded.state, reason = excluded.reason, sha256 = excluded.sha256,"
                " octets = excluded.octets",
                (study.pk, uid, state, reason, sha256, octets),
            )
            if self._connection.total_changes % 64 == 0:
                self._connection.commit()

    def finish(self, study: StudyTodo, reason: str) -> None:
        """What is still due did not come, for this reason; the study is done."""
        with self._lock, self._connection as tx:
            tx.execute(
                "UPDATE instance SET state = 'missing', reason = ? WHERE study = ? AND state = 'announced'",
                (reason, study.pk),
            )
            tx.execute("UPDATE study SET state = 'done' WHERE pk = ?", (study.pk,))

    def open_failed(self) -> None:
        """Ask again for all that is missing or was refused, and list studies again that came short."""
        with self._lock, self._connection as tx:
            tx.execute(
                "UPDATE instance SET state = 'announced', reason = '' WHERE state IN ('missing', 'refused')"
            )
            tx.execute(
                "UPDATE study SET state = 'open' WHERE announced > (SELECT count(*) FROM instance"
                " WHERE study = study.pk AND state = 'acknowledged')"
                " OR EXISTS (SELECT 1 FROM instance WHERE study = study.pk AND state = 'announced')"
            )

    # --- what is told -----------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """The numbers."""
        with self._lock:
            studies, done = self._connection.execute(
                "SELECT count(*), coalesce(sum(state = 'done'), 0) FROM study"
            ).fetchone()
            row = self._connection.execute(
                "SELECT coalesce(sum(listed), 0), coalesce(sum(state = 'acknowledged'), 0),"
                " coalesce(sum(state = 'refused'), 0), coalesce(sum(state = 'missing'), 0),"
                " coalesce(sum(octets), 0) FROM instance"
            ).fetchone()
        return Progress(studies, done, *row)

    def meta(self, name: str) -> str:
        """A fact about the migration, "" where it is not known."""
        with self._lock:
            row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def lines(self) -> Iterator[Line]:
        """Each study and after it its instances, in ascending order of UID, page by page."""
        last = ""
        while True:
            with self._lock:
                rows = self._connection.execute(
                    "SELECT pk, uid, announced FROM study WHERE uid > ? ORDER BY uid LIMIT ?", (last, _PAGE)
                ).fetchall()
            for pk, uid, announced in rows:
                yield Line(uid, announced)
                yield from self._instances(pk, uid)
                last = uid
            if not rows:
                return

    def _instances(self, study: int, study_uid: str) -> Iterator[Line]:
        last = ""
        while True:
            with self._lock:
                rows = self._connection.execute(
                    "SELECT uid, coalesce(sha256, x''), reason FROM instance WHERE study = ? AND uid > ?"
                    " ORDER BY uid LIMIT ?",
                    (study, last, _PAGE),
                ).fetchall()
            for uid, sha256, reason in rows:
                yield Line(study_uid, 0, uid, sha256, reason)
                last = uid
            if not rows:
                return


def open_journal(folder: Path, source: str = "") -> Journal:
    """The journal of a work folder; made when `source` is given and there is none. Raises JournalUnusable."""
    path = folder / "journal.db"
    new = not path.exists()
    if new and not source:
        raise JournalUnusable(
            "there is no migration in that folder", "give the folder of `ribcage migrate pull`"
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if new:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=0.2, check_same_thread=False)
        try:
            return _ready(connection, source)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as failure:
        raise JournalUnusable(
            "the journal cannot be used: damaged, or another process has it",
            "one `ribcage migrate` for one folder",
        ) from failure


def _ready(connection: sqlite3.Connection, source: str) -> Journal:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN EXCLUSIVE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.commit()
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    elif version != _VERSION:
        raise JournalUnusable(
            f"expected a journal of version {_VERSION}, got {version}", "use a newer Ribcage"
        )
    journal = Journal(connection)
    known = journal.meta("source")
    if not known and source:
        with connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('source', ?)", (source,))
    elif source and known != source:
        raise JournalUnusable(
            "this folder belongs to the migration of another source",
            "give another --work, or the source of before",
        )
    return journal
