"""What a device is, for people who look after it: owner and place, and what its own instances say.

Rules, in order:
1. Nothing here decides anything: a device that lies about itself gains nothing.
2. Owner and place are an operator's words. Manufacturer, model, serial number and software versions are those of
   the newest instance that was kept (PS3.3 C.7.5.1), cut to their longest and to one line each.
3. They are written with the instance that says something else, at most every ten minutes a device: who sends for
   many machines costs no more than one. What says nothing changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.device_tables import device_fact
from ribcage.guard.committer import Transaction
from ribcage.guard.devices import KnownDevice
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import Attributes
from ribcage.guard.rows import MacRows

_PAUSE_SECONDS = 600.0
_MOST = 64  # characters of LO (PS3.5 6.2)
_MOST_VERSIONS = 256  # of all of them together

Said = tuple[str, str, str, str]


@dataclass(frozen=True)
class Facts:
    """Of one device. `reported_at` in Unix seconds, 0 where no instance has said anything."""

    owner: str = ""
    place: str = ""
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    software_versions: str = ""
    reported_at: float = 0.0


_NOTHING = Facts()


class Equipment:
    """The facts, in memory, with their durable copy in the database."""

    def __init__(self, engine: sa.Engine, rows: MacRows) -> None:
        self._rows = rows
        self._facts: dict[bytes, Facts] = {}
        self._last: dict[
            bytes, tuple[Said, float]
        ] = {}  # what was seen, and until when nothing else is written
        self.findings: list[str] = []
        with engine.connect() as connection:
            for row in rows.all(connection, device_fact):
                try:
                    self._keep(rows.check(device_fact, row))
                except RowTampered:
                    self.findings.append("what is known of a device does not carry the guard's MAC: ignored")

    def _keep(self, row: dict[str, Any]) -> None:
        self._facts[bytes(row["id"])] = Facts(**{name: row[name] for name in Facts.__dataclass_fields__})

    def of(self, device_id: bytes) -> Facts:
        """What is known."""
        return self._facts.get(device_id, _NOTHING)

    def describe(self, tx: Transaction, device_id: bytes, owner: str | None, place: str | None) -> None:
        """Owner and place; None leaves it. Raises GuardRefused('invalid')."""
        held = self.of(device_id)
        facts = replace(
            held,
            owner=held.owner if owner is None else _words(owner),
            place=held.place if place is None else _words(place),
        )
        self._write(tx, device_id, facts)

    def saw(self, tx: Transaction, device: KnownDevice | None, said: Attributes, now: float) -> None:
        """An instance of this device is kept by this transaction (rule 3)."""
        if device is None:
            return
        told = (said.manufacturer, said.model_name, said.serial_number, said.software_versions)
        last, until = self._last.get(device.device_id, (None, 0.0))
        if told == last or now < until or not any(told):
            return
        self._last[device.device_id] = told, now + _PAUSE_SECONDS
        held = self.of(device.device_id)
        facts = replace(
            held,
            manufacturer=_line(said.manufacturer, _MOST),
            model=_line(said.model_name, _MOST),
            serial_number=_line(said.serial_number, _MOST),
            software_versions=_line(said.software_versions, _MOST_VERSIONS),
        )
        if facts != held:
            self._write(tx, device.device_id, replace(facts, reported_at=now))

    def _write(self, tx: Transaction, device_id: bytes, facts: Facts) -> None:
        tx.connection.execute(sa.delete(device_fact).where(device_fact.c.id == device_id))
        values = {"id": device_id, **{name: getattr(facts, name) for name in Facts.__dataclass_fields__}}
        self._rows.insert(tx.connection, device_fact, values)
        self._facts[device_id] = facts  # ahead of the disk should COMMIT fail: it decides nothing


def _words(text: str) -> str:
    if len(text) > _MOST or not text.isprintable():
        raise GuardRefused("invalid")
    return text.strip()


def _line(text: str, most: int) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:most].strip()
