"""Staff numbers and shifts by hand, and what an operator reads of care relations.

Rules, in order:
1. A staff number is one person's; taking one that another has is refused.
2. A change counts when it is answered: grants follow at the next tick.
"""

from __future__ import annotations

from ribcage.crypto.errors import CryptoError
from ribcage.database.care_tables import shift, staff_number
from ribcage.evidence.audit_event import StaffChanged
from ribcage.guard import protocol as p
from ribcage.guard.care import Care
from ribcage.guard.care_plan import Relation, Shift, ends
from ribcage.guard.care_rows import Row
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused

_CHARACTERS = 64
_MOST = 1000


class CareLists:
    """For operators."""

    def __init__(self, core: Core, care: Care) -> None:
        self._core = core
        self._care = care

    async def set_number(self, actor: Actor, request: p.SetStaffNumber) -> p.Noted:
        """Rule 1. Raises GuardRefused('not_found' | 'conflict' | 'invalid')."""
        core, rows = self._core, self._care.rows
        person_id, number = bytes(core.people.find(request.username)["id"]), request.number.strip()
        if len(number) > _CHARACTERS or not number.isprintable():
            raise GuardRefused("invalid")
        if number and any(held == number and who != person_id for who, held in rows.numbers.items()):
            raise GuardRefused("conflict")

        def write(tx: Transaction) -> Row:
            change = "number-set" if number else "number-removed"
            core.append(tx, StaffChanged(actor.evidence, change, person=person_id))  # type: ignore[arg-type]  # one of the literals
            return rows.write_number(tx.connection, person_id, number)

        rows.take(staff_number, [await core.committer.run(write)])
        self._care.wake()
        return p.Noted()

    async def set_shift(self, actor: Actor, request: p.SetShift) -> p.Noted:
        """Raises GuardRefused('invalid')."""
        core, rows, told = self._core, self._care.rows, request.shift
        texts = (request.number, told.ward)
        if not all(0 < len(each) <= _CHARACTERS and each.isprintable() for each in texts):
            raise GuardRefused("invalid")
        if told.ends_at and told.ends_at <= told.begins_at:
            raise GuardRefused("invalid")
        new = Shift(request.number, told.ward, float(told.begins_at), float(told.ends_at))

        def write(tx: Transaction) -> Row:
            row = rows.write_shift(tx.connection, new, b"", core.clock())
            core.append(tx, StaffChanged(actor.evidence, "shift-added", int(row["number"])))
            return row

        rows.take(shift, [await core.committer.run(write)])
        self._care.wake()
        return p.Noted()

    async def end_shift(self, actor: Actor, request: p.EndShift) -> p.Noted:
        """Raises GuardRefused('not_found')."""
        core, rows = self._core, self._care.rows
        held = rows.shifts.get(request.shift)
        if held is None:
            raise GuardRefused("not_found")

        def write(tx: Transaction) -> Row:
            core.append(tx, StaffChanged(actor.evidence, "shift-ended", request.shift))
            return rows.remove_shift(tx.connection, held)

        rows.take(shift, [await core.committer.run(write)])
        self._care.wake()
        return p.Noted()

    async def page(self, _: Actor, __: p.ListCare) -> p.CareItems:
        """What stands now, at most a thousand of each. Raises GuardRefused('unavailable')."""
        core, rows, now = self._core, self._care.rows, self._core.clock()
        who = {number: core.people.name_of(person) for person, number in rows.numbers.items() if number}
        relations = [each for each in rows.relations.values() if ends(each, core.limits) > now]
        shifts = [
            p.ShiftItem(
                number,
                str(row["staff"]),
                who.get(str(row["staff"]), ""),
                str(row["ward"]),
                float(row["begins_at"]),
                float(row["ends_at"]),
                not row["device_id"],
            )
            for number, row in sorted(rows.shifts.items())
            if not row["ends_at"] or float(row["ends_at"]) > now
        ]
        named = {number for each in relations for number in each.facts.staff} | {s.number for s in shifts}
        return p.CareItems(
            relations=[self._item(each) for each in relations[:_MOST]],
            shifts=shifts[:_MOST],
            unknown=sorted(named - who.keys())[:_MOST],
            waiting=self._care.waiting,
        )

    def _item(self, relation: Relation) -> p.CareItem:
        facts, state = relation.facts, relation.standing.state
        try:
            _, said = self._care.rows.said(relation.message)
        except CryptoError as failure:
            raise GuardRefused("unavailable") from failure
        return p.CareItem(
            sort=relation.sort,
            number=facts.number,
            patient=f"{facts.identifier}|{facts.issuer}" if facts.issuer else facts.identifier,
            places=facts.places,
            staff=facts.staff,
            state=state,
            until=ends(relation, self._core.limits) if state == "over" else 0.0,
            cause=said,
        )
