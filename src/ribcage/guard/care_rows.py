"""Care relations, shifts, staff numbers and their grants: the guard's memory and its durable copy.

Rules, in order:
1. Every row carries the guard's MAC; one that does not hold is ignored and named. A grant whose row was broken lasts
   no longer than the ledger says.
2. What names patient, ward or staff in a relation is sealed under the patient's key and dies with it.
3. Memory has the relations that may still be a ground; older ones are found in the database by their token.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError, RowTampered
from ribcage.database.care_tables import care_grant, care_relation, his_message, shift, staff_number
from ribcage.guard import catalogue
from ribcage.guard.care_plan import NOTHING, Facts, Held, Pair, Relation, Shift, Standing, after, ends
from ribcage.guard.catalogue import HeldPatient
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused

Row = dict[str, Any]
_ID_BYTES = 16
_STANDING = Standing._fields


class CareRows:
    """Reads on the loop; writes inside transactions that somebody else owns, and `take` after them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.relations: dict[bytes, Relation] = {}
        self.progress: dict[bytes, str] = {}  # of relations in memory
        self.shifts: dict[int, Row] = {}
        self.grants: dict[int, Row] = {}  # that nobody ended
        self.numbers: dict[bytes, str] = {}  # person -> staff number
        self._numbers: dict[bytes, Row] = {}
        with core.engine.connect() as connection:
            for row in connection.execute(sa.select(care_grant).where(care_grant.c.ended == 0)).mappings():
                self._take(care_grant, row)
            for row in connection.execute(sa.select(shift).where(shift.c.removed == 0)).mappings():
                self._take(shift, row)
            for row in core.rows.all(connection, staff_number):
                self._take(staff_number, row)
            for row in core.rows.all(connection, care_relation):
                self._take(care_relation, row)

    # --- memory -----------------------------------------------------------------------------------------

    def take(self, table: sa.Table, rows: Iterable[Row]) -> None:
        """Learn rows that were committed."""
        for row in rows:
            self._take(table, row)

    def _take(self, table: sa.Table, row: sa.RowMapping | Row) -> None:
        try:
            held = self._core.rows.check(table, row)  # type: ignore[arg-type]  # a dict serves as a mapping
        except RowTampered:
            self._core.findings.append(f"a row of {table.name} does not carry the guard's MAC: ignored")
            return
        if table is care_grant:
            self._keep(self.grants, int(held["grant_id"]), held, gone=bool(held["ended"]))
        elif table is shift:
            self._keep(self.shifts, int(held["number"]), held, gone=bool(held["removed"]))
        elif table is staff_number:
            self._numbers[bytes(held["id"])] = held
            self.numbers[bytes(held["id"])] = str(held["number"])
        else:
            self._take_relation(held)

    @staticmethod
    def _keep(memory: dict[int, Row], key: int, row: Row, *, gone: bool) -> None:
        if gone:
            memory.pop(key, None)
        else:
            memory[key] = row

    def _take_relation(self, row: Row) -> None:
        identifier = bytes(row["id"])
        self.relations.pop(identifier, None)
        try:
            relation = self.opened(row)
        except (CryptoError, GuardRefused):
            return  # its patient was destroyed
        if ends(relation, self._core.limits) > self._core.clock():
            self.relations[identifier] = relation
            self.progress[identifier] = str(row["progress"])

    def opened(self, row: Row) -> Relation:
        """A checked row as a relation. Raises CryptoError, GuardRefused('not_found')."""
        core, identifier = self._core, bytes(row["id"])
        with core.engine.connect() as connection:
            whose = catalogue.patient_by_id(core, connection, bytes(row["patient_id"]))
        return _relation(row, _open_facts(whose.key, identifier, bytes(row["sealed"])))

    def kept_ids(self) -> set[bytes]:
        """Ids of all relations that the database has. Blocking."""
        with self._core.engine.connect() as connection:
            return {bytes(identifier) for (identifier,) in connection.execute(sa.select(care_relation.c.id))}

    def forget_ended(self, now: float, kept: set[bytes]) -> None:
        """Drop from memory what is no ground any more, or was destroyed with its patient."""
        limits = self._core.limits
        gone = [i for i, each in self.relations.items() if i not in kept or ends(each, limits) <= now]
        for identifier in gone:
            del self.relations[identifier]
            self.progress.pop(identifier, None)

    # --- what the plan is made of -----------------------------------------------------------------------

    def now_relations(self) -> list[Relation]:
        """Relations with the patient that each one's is now."""
        into = self._core.identities.into
        return [replace(each, patient_id=into(each.patient_id)) for each in self.relations.values()]

    def by_ward(self) -> dict[str, list[Shift]]:
        """All shifts."""
        found: dict[str, list[Shift]] = {}
        for row in self.shifts.values():
            each = Shift(str(row["staff"]), str(row["ward"]), float(row["begins_at"]), float(row["ends_at"]))
            found.setdefault(each.ward, []).append(each)
        return found

    def held(self) -> dict[Pair, list[Held]]:
        """Grants that messages made, by person and patient."""
        found: dict[Pair, list[Held]] = {}
        for number, row in self.grants.items():
            each = Held(number, bytes(row["relation_id"]), float(row["until"]))
            found.setdefault((bytes(row["person_id"]), bytes(row["patient_id"])), []).append(each)
        return found

    # --- inside transactions ----------------------------------------------------------------------------

    def known_message(self, connection: sa.Connection, token: bytes) -> Row | None:
        """The row of a message that was taken. Raises RowTampered."""
        query = sa.select(his_message).where(his_message.c.token == token)
        row = connection.execute(query).mappings().one_or_none()
        return None if row is None else self._core.rows.check(his_message, row)

    def add_message(self, connection: sa.Connection, token: bytes, content: bytes, said: str) -> int:
        """Remember a message, forget those that are too old; its number."""
        core, now = self._core, self._core.clock()
        old = now - core.limits.care_message_days * 86_400.0
        newest = connection.execute(sa.select(sa.func.max(his_message.c.number))).scalar()
        number = int(newest or 0) + 1
        connection.execute(sa.delete(his_message).where(his_message.c.at < old))
        longest = max(core.limits.care_inpatient_days, core.limits.care_order_days) * 86_400.0
        connection.execute(sa.delete(care_relation).where(care_relation.c.heard_at < old - longest))
        context = column_context("his_message", "sealed", number)
        sealed = seal_column(core.keyring.service("log"), context, said.encode())
        values = {"number": number, "token": token, "content": content, "at": now, "sealed": sealed}
        core.rows.insert(connection, his_message, values)
        return number

    def said(self, number: int) -> tuple[bytes, str]:
        """Token of a message and what people read of it; empty where it is forgotten. Raises CryptoError."""
        core = self._core
        with core.engine.connect() as connection:
            query = sa.select(his_message).where(his_message.c.number == number)
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return b"", ""
        context = column_context("his_message", "sealed", number)
        return bytes(row["token"]), open_column(
            core.keyring.service("log"), context, bytes(row["sealed"])
        ).decode()

    def relation_row(self, connection: sa.Connection, token: bytes) -> Row | None:
        """The checked row of a relation. Raises RowTampered."""
        query = sa.select(care_relation).where(care_relation.c.token == token)
        row = connection.execute(query).mappings().one_or_none()
        return None if row is None else self._core.rows.check(care_relation, row)

    def write_relation(
        self,
        connection: sa.Connection,
        held: Row | None,
        new: Mapping[str, Any],
        whose: HeldPatient,
        event: tuple[str, float],
        facts: Facts,
    ) -> Row:
        """The relation's next row after an event and its time. `new`: token, sort, device, message of a new one."""
        core = self._core
        standing = NOTHING if held is None else Standing(*(held[name] for name in _STANDING))
        standing, counts = after(standing, *event)
        identifier = os.urandom(_ID_BYTES) if held is None else bytes(held["id"])
        values: Row = {
            **standing._asdict(),
            "heard_at": core.clock(),
            "message": new["message"],
        }
        if held is None or counts:
            values["sealed"] = seal_column(whose.key, _context(identifier), msgspec.json.encode(facts))
        if held is not None:
            return core.rows.update(connection, care_relation, {**held, **values})
        fixed = {"id": identifier, "patient_id": whose.patient_id, "progress": "scheduled", **new}
        return core.rows.insert(connection, care_relation, {**fixed, **values})

    def write_progress(self, connection: sa.Connection, row: Row, progress: str) -> Row:
        """How far an order's procedure has come."""
        return self._core.rows.update(connection, care_relation, {**row, "progress": progress})

    def write_number(self, connection: sa.Connection, person_id: bytes, number: str) -> Row:
        """The staff number of a person."""
        held = self._numbers.get(person_id)
        values = {"id": person_id, "number": number}
        if held is None:
            return self._core.rows.insert(connection, staff_number, values)
        return self._core.rows.update(connection, staff_number, {**held, **values})

    def write_shift(self, connection: sa.Connection, each: Shift, device_id: bytes, told_at: float) -> Row:
        """A new shift."""
        newest = connection.execute(sa.select(sa.func.max(shift.c.number))).scalar()
        values = {
            "id": os.urandom(_ID_BYTES),
            "number": int(newest or 0) + 1,
            **each._asdict(),
            "device_id": device_id,
            "told_at": told_at,
            "removed": 0,
        }
        return self._core.rows.insert(connection, shift, values)

    def remove_shift(self, connection: sa.Connection, row: Row) -> Row:
        """End one."""
        return self._core.rows.update(connection, shift, {**row, "removed": 1})

    def write_grant(self, connection: sa.Connection, values: Row) -> Row:
        """A grant that a message made."""
        return self._core.rows.insert(connection, care_grant, {**values, "ended": 0})

    def end_grant(self, connection: sa.Connection, number: int) -> Row:
        """The same, ended."""
        return self._core.rows.update(connection, care_grant, {**self.grants[number], "ended": 1})


def _relation(row: Row, facts: Facts) -> Relation:
    return Relation(
        identifier=bytes(row["id"]),
        sort=str(row["sort"]),
        patient_id=bytes(row["patient_id"]),
        standing=Standing(*(row[name] for name in _STANDING)),
        heard_at=float(row["heard_at"]),
        message=int(row["message"]),
        facts=facts,
    )


def _context(identifier: bytes) -> bytes:
    return column_context("care_relation", "sealed", identifier)


def _open_facts(patient_key: bytes, identifier: bytes, sealed: bytes) -> Facts:
    return msgspec.json.decode(open_column(patient_key, _context(identifier), sealed), type=Facts)
