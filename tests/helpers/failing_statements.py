"""Statements that fail from now on, whether SQLAlchemy runs them or `ribcage.database.prepared` does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any
from unittest import mock

import sqlalchemy as sa

from ribcage.database import prepared
from ribcage.guard import committer


class _Failing:
    """A driver's connection on which some statements fail."""

    def __init__(self, link: Any, check: Callable[[str], None]) -> None:
        self._link, self._check = link, check

    def execute(self, text: str, *values: Any) -> Any:
        self._check(text)
        return self._link.execute(text, *values)

    def executemany(self, text: str, rows: Any) -> Any:
        self._check(text)
        return self._link.executemany(text, rows)


def fail_statements(engine: sa.Engine, start: str, error_name: str = "SQLITE_FULL") -> Callable[[], None]:
    """Every statement that begins so fails with this error of SQLite, until the answer is called."""
    genuine = prepared.driver

    def check(text: str) -> None:
        if text.startswith(start):
            failure = sqlite3.OperationalError(f"planted: {error_name}")
            failure.sqlite_errorname = error_name
            raise sa.exc.OperationalError(text, None, failure)

    def before(_connection: object, _cursor: object, text: str, *_: object) -> None:
        check(text)

    def driver(connection: sa.Connection) -> Any:
        link = genuine(connection)
        return _Failing(link, check) if connection.engine is engine else link

    planted = [mock.patch.object(module, "driver", driver) for module in (prepared, committer)]

    def heal() -> None:
        sa.event.remove(engine, "before_cursor_execute", before)
        for each in planted:
            each.stop()

    sa.event.listen(engine, "before_cursor_execute", before)
    for each in planted:
        each.start()
    return heal
