"""Whoever may write the home's files and holds the database's key cuts the newest acts: log, heads, ledger, and what
the key store remembers of them. An older head needs no key to be forged: it was signed when it was made."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from .database import opened, tables
from .kit import Brief, GaveUp, Result, run

_LOGS = ("log_leaf", "audit")
_FOLLOWING = ("checkpoint", "ledger_transaction")
_CACHES = ("log_tile",)


def attack(brief: Brief) -> Result:
    """Succeeds when rows of the log are gone; whether anybody notices is for `verify` to say."""
    notes = Path(brief["notes"])
    if brief["step"] == "note":
        notes.write_text(json.dumps(_note(brief)), encoding="utf-8")
        return Result(False, "the ends of the tables are noted")
    there = json.loads(notes.read_text(encoding="utf-8"))
    with opened(brief) as connection:
        gone = {name: _cut(connection, name, end) for name, end in there["ends"].items()}
        for name in set(_CACHES) & set(tables(connection)):
            connection.execute(f'DELETE FROM "{name}"')
    _rewind(brief, there)
    cut = sum(gone[name] for name in _LOGS if name in gone)
    if not cut:
        raise GaveUp("nothing was logged meanwhile")
    return Result(True, f"{cut} entries cut from the end of the log")


def _note(brief: Brief) -> dict[str, Any]:
    with opened(brief) as connection:
        known = [name for name in (*_LOGS, *_FOLLOWING) if name in tables(connection)]
        if not set(known) & set(_LOGS):
            raise GaveUp("no table looks like a log")
        ends = {name: _end(connection, name) for name in known}
    return {"ends": ends, "head": _head(brief)}


def _end(connection: Any, name: str) -> int:
    return int(connection.execute(f'SELECT coalesce(max(rowid), 0) FROM "{name}"').fetchone()[0])


def _cut(connection: Any, name: str, end: int) -> int:
    return int(connection.execute(f'DELETE FROM "{name}" WHERE rowid > ?', (end,)).rowcount)


def _key_store(brief: Brief) -> Path | None:
    path = Path(brief["folder"]) / "keys" / "keystore.db"
    return path if path.exists() else None


def _head(brief: Brief) -> list[Any]:
    """What the key store remembers: the newest height, and the newest head."""
    path = _key_store(brief)
    if path is None:
        return []
    with sqlite3.connect(path) as link:
        (height,) = link.execute("SELECT coalesce(max(height), 0) FROM journal").fetchone()
        size, note = link.execute("SELECT size, note FROM head").fetchone()
    link.close()
    return [height, size, bytes(note).hex()]


def _rewind(brief: Brief, there: dict[str, Any]) -> None:
    path = _key_store(brief)
    if path is None:
        return
    height, size, note = there["head"]
    with sqlite3.connect(path) as link:
        link.execute("DELETE FROM journal WHERE height > ?", (height,))
        link.execute("UPDATE head SET size = ?, note = ?", (size, bytes.fromhex(note)))
    link.close()


if __name__ == "__main__":
    run(attack)
