"""What stands in the emergency journal (docs/formats.md 9), and how it comes into the log: once.

The mark says how many records the log has. It moves in the transaction that appends the entry, so that a crash leaves
either both or neither.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import emergency_mark
from ribcage.evidence.audit_event import (
    DisclosureAllowed,
    DisclosureClosed,
    Event,
    PersonActor,
    QueryAnswered,
)
from ribcage.guard.committer import Transaction
from ribcage.guard.rows import MacRows


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, array_like=True):
    """Base: `person` acted from `address` at `at`, Unix seconds by the time the guard trusts."""

    at: float
    person: bytes
    address: str


class GlassRecord(_Record, frozen=True):
    """The glass was broken. `counter` is the one-time code's, 0 without one; `session` the one that proved it."""

    identifier: bytes
    patient: bytes
    study: bytes | None
    resource: bytes
    reason: str
    note: bytes
    valid_until: float
    counter: int
    session: bytes


class OpeningRecord(_Record, frozen=True):
    """A disclosure under broken glass, before its first byte."""

    disclosure: bytes
    study: bytes
    patient: bytes
    view: str
    purpose: str
    channel: str
    instances: int
    ledger_height: int
    expires_at_ms: int


class ClosingRecord(_Record, frozen=True):
    """What left under a disclosure, and how it ended."""

    disclosure: bytes
    study: bytes
    patient: bytes
    instances: int
    octets: int
    ending: str


class QueryRecord(_Record, frozen=True):
    """A query whose answer named studies under broken glass."""

    channel: str
    level: str
    keywords: tuple[str, ...]
    studies: tuple[bytes, ...]
    records: int
    more: bool


Record = GlassRecord | OpeningRecord | ClosingRecord | QueryRecord
_ASSURANCE = 2


def encode(record: Record) -> bytes:
    """As the journal takes it."""
    return msgspec.msgpack.encode(record)


def decode(payload: bytes) -> Record:
    """Raises msgspec.ValidationError: a record of another version of this program."""
    record: Record = msgspec.msgpack.decode(payload, type=Record)
    return record


def event_of(record: OpeningRecord | ClosingRecord | QueryRecord) -> Event:
    """The entry that the log lacks."""
    actor = PersonActor(record.person, record.address, _ASSURANCE)
    if isinstance(record, QueryRecord):
        return QueryAnswered(
            actor,
            record.channel,
            record.level,
            record.keywords,
            record.studies,
            record.records,
            record.more,
            "ETREAT",
        )
    if isinstance(record, ClosingRecord):
        return DisclosureClosed(
            actor,
            record.disclosure,
            record.study,
            record.patient,
            record.instances,
            record.octets,
            record.ending,
        )
    return DisclosureAllowed(
        actor=actor,
        disclosure=record.disclosure,
        study=record.study,
        patient=record.patient,
        view=record.view,
        purpose=record.purpose,
        channel=record.channel,
        instances=record.instances,
        ground="break_glass",
        ledger_height=record.ledger_height,
        expires_at_ms=record.expires_at_ms,
    )


def read_mark(connection: sa.Connection, rows: MacRows) -> int:
    """How many records the log has. Raises RowTampered."""
    row = connection.execute(sa.select(emergency_mark)).mappings().one_or_none()
    return int(rows.check(emergency_mark, row)["submitted"]) if row is not None else 0


def move_mark(tx: Transaction, rows: MacRows, hospital: bytes, submitted: int) -> None:
    """Inside the transaction of the entry. Raises RowTampered where a record was skipped or comes twice."""
    row = tx.connection.execute(sa.select(emergency_mark)).mappings().one_or_none()
    if row is None:
        rows.insert(tx.connection, emergency_mark, {"id": hospital, "submitted": submitted})
        return
    checked = rows.check(emergency_mark, row)
    if int(checked["submitted"]) >= submitted:
        raise RowTampered("this record of the emergency journal is in the log already")
    rows.update(tx.connection, emergency_mark, dict(checked, submitted=submitted))
