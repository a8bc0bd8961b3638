"""A message of the hospital's system as rows: sizes checked, relations and shifts written, one entry (`guard.care`).

Rules, in order:
1. A front is not believed about sizes either: what is too long, too much or not printable is refused.
2. A relation's token has the certificate in it: another's message with the same number is about another relation.
3. A relation stays with its patient, or with whom that one was merged into; a message that gives it to somebody else
   is refused as a whole.
4. The shifts that a message tells for a staff number replace those that the same certificate told before, unless they
   are newer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import sqlalchemy as sa

from ribcage.evidence.audit_event import CareTold
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.care_plan import Facts, Shift
from ribcage.guard.care_rows import CareRows, Row
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.identities import Named

_CHARACTERS, _LIST = 256, 64


class NotItsPatient(Exception):
    """Rule 3."""


@dataclass
class Written:
    """What a message wrote."""

    relations: list[Row] = field(default_factory=list)
    shifts: list[Row] = field(default_factory=list)


def sound(request: p.TakeCare, earliest: float, latest: float) -> p.CareCode:
    """0, or what is wrong (HL7 table 0357). An event may be neither earlier nor later, Unix seconds."""
    texts = _texts(msgspec.to_builtins(request, builtin_types=(bytes,)))
    if not all(len(each) <= _CHARACTERS and each.isprintable() for each in texts):
        return 102
    lists = (request.orders, *((request.visit.staff,) if request.visit else ()))
    lists += tuple(each.staff for each in request.orders)
    lists += (request.staff.shifts,) if request.staff else ()
    if any(len(each) > _LIST for each in lists) or not earliest <= request.at <= latest:
        return 102
    named = [each for each in (request.patient, request.former) if each is not None]
    if any(each.identifier.strip().upper() in catalogue.PLACEHOLDER_IDS for each in named):
        return 204  # nobody's number
    numbers = [each.number for each in (request.visit, request.staff, *request.orders) if each is not None]
    if not request.control or not all(numbers):
        return 101
    about = request.visit is not None or bool(request.orders) or request.former is not None
    return 101 if about and request.patient is None else 0


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def joined(*parts: str | bytes) -> bytes:
    """Parts as one value, unambiguously."""
    return b"".join(
        len(each).to_bytes(4, "big") + each
        for each in (part.encode() if isinstance(part, str) else part for part in parts)
    )


def label(request: p.TakeCare) -> str:
    """The kind of a message as the log names it."""
    return (
        "".join(each for each in request.kind if each.isascii() and (each.isalnum() or each == "-"))[:16]
        or "other"
    )


def whose(core: Core, connection: sa.Connection, patient: p.CarePatient) -> catalogue.HeldPatient:
    """The patient that a message names, made now if new; merged or not."""
    token = catalogue.token_of(core, Named(patient.identifier, patient.issuer, "", "", ""))
    return catalogue.find_or_make_patient(core, connection, token)


def write(
    core: Core, rows: CareRows, tx: Transaction, actor: Actor, request: p.TakeCare, known: tuple[bytes, bytes]
) -> Written:
    """All of a message. `known`: its token and content. Raises NotItsPatient."""
    token, content = known
    number = rows.add_message(tx.connection, token, content, f"{request.kind} {request.control}")
    written, patient_id = Written(), None
    if request.patient is not None:
        patient_id = whose(core, tx.connection, request.patient).patient_id
        for sort, event, facts in _told(request, request.patient):
            row = _relation(core, rows, tx.connection, actor, (sort, event, number), request, facts)
            written.relations.append(row)
    if request.staff is not None:
        written.shifts = _shifts(rows, tx.connection, actor, request.staff, request.at)
    relations = tuple(dict.fromkeys(bytes(row["id"]) for row in written.relations))
    core.append(tx, CareTold(actor.evidence, label(request), token, patient_id, relations))
    return written


def _told(request: p.TakeCare, patient: p.CarePatient) -> Iterator[tuple[str, str, Facts]]:
    """Sort, event and facts of each relation in a message."""
    named = (patient.name, patient.birth_date, patient.sex)
    who = Facts("", patient.identifier, patient.issuer, [], [], False, *named)
    if (visit := request.visit) is not None:
        told = {"number": visit.number, "staff": visit.staff, "inpatient": visit.inpatient}
        places = [visit.ward] if visit.ward else []
        yield "visit", visit.event, msgspec.structs.replace(who, places=places, **told)
    for order in request.orders:
        told = {"number": order.number, "staff": order.staff, "order": order}
        places = [order.department] if order.department else []
        yield "order", order.event, msgspec.structs.replace(who, places=places, **told)


def _relation(
    core: Core,
    rows: CareRows,
    connection: sa.Connection,
    actor: Actor,
    what: tuple[str, str, int],
    request: p.TakeCare,
    facts: Facts,
) -> Row:
    """Rules 2 and 3."""
    sort, event, message = what
    token = core.blind.exact(f"care-{sort}", joined(actor.identifier, facts.number))
    new = {"token": token, "sort": sort, "device_id": actor.identifier, "message": message}
    held = rows.relation_row(connection, token)
    owner = whose(core, connection, request.patient)  # type: ignore[arg-type]  # the caller looked
    if held is not None:
        into = core.identities.into
        if into(bytes(held["patient_id"])) != into(owner.patient_id):
            raise NotItsPatient
        owner = catalogue.patient_by_id(core, connection, bytes(held["patient_id"]))
    return rows.write_relation(connection, held, new, owner, (event, request.at), facts)


def _shifts(
    rows: CareRows, connection: sa.Connection, actor: Actor, staff: p.CareStaff, at: float
) -> list[Row]:
    """Rule 4."""
    mine = [
        row
        for row in rows.shifts.values()
        if row["staff"] == staff.number and bytes(row["device_id"]) == actor.identifier
    ]
    if any(float(row["told_at"]) > at for row in mine):
        return []
    removed = [rows.remove_shift(connection, row) for row in mine]
    added = [
        rows.write_shift(
            connection,
            Shift(staff.number, each.ward, float(each.begins_at), float(each.ends_at)),
            actor.identifier,
            at,
        )
        for each in staff.shifts
        if each.ward
    ]
    return removed + added
