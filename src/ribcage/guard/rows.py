"""Rows that decide access carry a MAC over all their columns and a version that only grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from ribcage.crypto.rowmac import row_mac, verify_row_mac
from ribcage.database.prepared import Prepared


class MacRows:
    """Reads and writes rows under the guard's row key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._inserts: dict[tuple[str, ...], Prepared] = {}

    def insert(self, connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> dict[str, Any]:
        """Insert version 1 of a row; returns it, without keys that the database assigns."""
        row = self._first(table, values)
        connection.execute(sa.insert(table), row)
        return row

    def add(self, connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> int:
        """The same on the hot path, for plain columns; returns the key that the database assigned."""
        row = self._first(table, values)
        names = (table.name, *row)
        insert = self._inserts.get(names)
        if insert is None:
            insert = self._inserts[names] = Prepared(sa.insert(table), names[1:])
        return insert.write(connection, row)

    def update(self, connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> dict[str, Any]:
        """Write the next version of a whole row; returns it. `values` holds its key and the old version."""
        row = dict(values, version=int(values["version"]) + 1)
        row.pop("mac", None)
        row["mac"] = self._mac(table, row)
        connection.execute(sa.update(table).where(*_is(table, row)).values(row))
        return row

    def check(self, table: sa.Table, row: sa.RowMapping) -> dict[str, Any]:
        """The row as a dict. Raises RowTampered when its MAC does not hold."""
        values = {name: value for name, value in row.items() if name not in ("mac", "version")}
        verify_row_mac(self._key, table.name, _plain(table, values), int(row["version"]), bytes(row["mac"]))
        return dict(row)

    def all(self, connection: sa.Connection, table: sa.Table) -> Iterator[sa.RowMapping]:
        """Every row of `table`, unchecked, in primary key order."""
        yield from connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()

    def _first(self, table: sa.Table, values: dict[str, Any]) -> dict[str, Any]:
        row = dict(values, version=1)
        row["mac"] = self._mac(table, row)
        return row

    def _mac(self, table: sa.Table, row: dict[str, Any]) -> bytes:
        values = {name: value for name, value in row.items() if name not in ("mac", "version")}
        return row_mac(self._key, table.name, _plain(table, values), int(row["version"]))


def _is(table: sa.Table, row: dict[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [column == row[column.name] for column in table.primary_key.columns]


def _plain(table: sa.Table, values: dict[str, Any]) -> dict[str, bytes | str | int | None]:
    """Columns as the MAC takes them: floats by their exact text; keys the database assigns are left out."""
    plain: dict[str, bytes | str | int | None] = {}
    for name, value in values.items():
        if name == "pk":
            continue
        plain[name] = repr(value) if isinstance(value, float) else value
    return plain
