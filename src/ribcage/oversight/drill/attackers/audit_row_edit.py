"""The insider with the database key changes what the audit log says."""

from __future__ import annotations

from typing import Any

from .database import opened, tables
from .kit import Brief, GaveUp, Result, run

_LIKELY = ("audit", "log_leaf", "log", "entry", "event")


def attack(brief: Brief) -> Result:
    """Succeeds when an audit row was changed; whether anybody notices is for `verify` to say."""
    with opened(brief) as connection:
        there = tables(connection)
        name = next((table for likely in _LIKELY for table in there if table.startswith(likely)), "")
        if not name:
            raise GaveUp("no table looks like an audit log")
        row = connection.execute(f'SELECT rowid, * FROM "{name}" ORDER BY rowid LIMIT 1 OFFSET 1').fetchone()
        if row is None:
            raise GaveUp("the audit log has fewer than two rows")
        columns = dict(zip(there[name], row[1:], strict=True))
        target = max(columns, key=lambda column: _length(columns[column]))
        changed = _changed(columns[target])
        connection.execute(f'UPDATE "{name}" SET "{target}" = ? WHERE rowid = ?', (changed, row[0]))
    return Result(True, f"row {row[0]} of {name}: column {target} changed")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (bytes, str)) else 0


def _changed(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:-1] + bytes((value[-1] ^ 1,))
    return "nothing happened here"


if __name__ == "__main__":
    run(attack)
