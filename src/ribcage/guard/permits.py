"""Broken glass: the guard's memory of the table `break_glass`, asked for every decision that is no.

Rules, in order:
1. A row that does not carry the guard's MAC permits nothing and is a finding; so is one that is missing, since the
   ledger counts them.
2. A permit is one person's, for one study or one patient, until it ends. It opens nothing by itself: suspension,
   destruction and legal block prevail (`guard.decision`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import break_glass
from ribcage.guard.protocol import GlassVerdict
from ribcage.guard.rows import MacRows

_DAY_SECONDS = 86400.0


@dataclass(frozen=True)
class Permit:
    """One break-glass access. Times in Unix seconds, `ended_at` 0: it was not ended early.

    `number` is -1 while it stands in the emergency journal alone. `session` is the one that proved its second factor
    for an access that was decided in a fault, b"" else; it is not stored.
    """

    identifier: bytes
    number: int
    person: bytes
    patient: bytes
    study: bytes | None
    resource: bytes
    occurred_at: float
    valid_until: float
    ended_at: float = 0.0
    verdict: GlassVerdict = ""
    emergency: bool = False
    session: bytes = b""

    def lives(self, now: float) -> bool:
        """Whether it opens anything at `now`."""
        return not self.ended_at and now < self.valid_until


class Permits:
    """All permits, by id. `counted` is how many the ledger has."""

    def __init__(self, engine: sa.Engine, rows: MacRows, counted: int) -> None:
        self._rows = rows
        self._of: dict[bytes, dict[bytes, Permit]] = {}  # by person, then by id
        self.findings: list[str] = []
        with engine.connect() as connection:
            query = sa.select(break_glass).order_by(break_glass.c.number)
            stored = list(connection.execute(query).mappings())
        for row in stored:
            self.take(row)
        if len(stored) != counted:
            self.findings.append(
                f"the ledger has {counted} break-glass accesses, the database {len(stored)}: rows were removed, or "
                "lost by a restore"
            )

    def take(self, row: sa.RowMapping | dict[str, Any]) -> None:
        """Learn the committed state of one row."""
        try:
            self._rows.check(break_glass, row)  # type: ignore[arg-type]  # a dict serves as a mapping
        except RowTampered:
            self.findings.append(
                f"break-glass {row['number']} does not carry the guard's MAC: it opens nothing"
            )
            self._of.get(bytes(row["person_id"]), {}).pop(bytes(row["id"]), None)
            return
        identifier, person = bytes(row["id"]), bytes(row["person_id"])
        known = self._of.get(person, {}).get(identifier)
        self.add(
            Permit(
                identifier=identifier,
                number=int(row["number"]),
                person=person,
                patient=bytes(row["patient_id"]),
                study=bytes(row["study_key_id"]) if row["study_key_id"] is not None else None,
                resource=bytes(row["resource"]),
                occurred_at=float(row["occurred_at"]),
                valid_until=float(row["valid_until"]),
                ended_at=float(row["ended_at"]),
                verdict=row["verdict"],
                emergency=bool(row["emergency"]),
                session=known.session if known else b"",
            )
        )

    def add(self, permit: Permit) -> None:
        """One that stands in the emergency journal alone."""
        self._of.setdefault(permit.person, {})[permit.identifier] = permit

    def live(self, person: bytes, resources: Collection[bytes], now: float) -> Permit | None:
        """The person's live permit for one of these resources, or None."""
        for permit in self._of.get(person, {}).values():
            if permit.resource in resources and permit.lives(now):
                return permit
        return None

    def verdict(self, person: bytes, identifier: bytes) -> GlassVerdict:
        """What was said of one; "" where nobody has judged it."""
        permit = self._of.get(person, {}).get(identifier)
        return permit.verdict if permit is not None else ""

    def any_live(self, person: bytes, now: float) -> bool:
        """Whether the person has a live permit at all."""
        return any(each.lives(now) for each in self._of.get(person, {}).values())

    def of_last_day(self, person: bytes, now: float) -> int:
        """How often the person broke the glass in the last 24 hours."""
        return sum(each.occurred_at > now - _DAY_SECONDS for each in self._of.get(person, {}).values())

    def unreviewed(self) -> Iterator[Permit]:
        """Those that wait for an officer."""
        return (each for permits in self._of.values() for each in permits.values() if not each.verdict)

    def overdue(self, now: float, hours: int) -> list[str]:
        """Findings: unreviewed for longer than this."""
        late = sum(each.occurred_at < now - hours * 3600 for each in self.unreviewed())
        if not late:
            return []
        return [f"{late} break-glass accesses unreviewed for {hours} h: `ribcage break-glass list`"]
