"""What patients consent to, as the hospital attests it: on the ledger, in force when answered.

Rules, in order:
1. An operator writes down what the patient signed elsewhere; the entry says `attested`. Research needs it always.
2. A withdrawal is a change of rights like any other: live disclosures are asked again before it is answered, and what
   falls is cut (`guard.rights`).
3. What stands is read from the log's entries of this patient; the ledger alone decides.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ribcage.database.schema import log_leaf, patient_entry
from ribcage.evidence.audit_event import ConsentChanged, Event
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.patient_entries import details_of, read_concern
from ribcage.guard.rights import Rights
from ribcage.ledger import calls
from ribcage.ledger.client import Prepared

_ENTRIES = 10_000


class Consents:
    """For operators."""

    def __init__(self, core: Core, rights: Rights) -> None:
        self._core = core
        self._rights = rights

    async def set(self, actor: Actor, request: p.SetConsent) -> p.Noted:
        """Give or withdraw. Raises GuardRefused('not_found' | 'unavailable')."""
        core = self._core
        patient_id, key = catalogue.find_patient(core, request.patient)
        call = calls.consent(core.patient_resource(key), calls.Purpose[request.purpose], request.given)

        def event(prepared: Prepared) -> Event:
            return ConsentChanged(
                actor.evidence, patient_id, request.purpose, not request.given, prepared.transaction
            )

        await self._rights.change(call, event, _nothing)
        return p.Noted()

    def show(self, request: p.GetConsent) -> p.ConsentItems:
        """What was said last of each purpose. Raises GuardRefused('not_found')."""
        core = self._core
        patient_id, _ = catalogue.find_patient(core, request.patient)
        query = (
            sa.select(log_leaf.c.number, log_leaf.c.sealed)
            .join(patient_entry, patient_entry.c.number == log_leaf.c.number)
            .where(patient_entry.c.patient_id == patient_id, patient_entry.c.kind == "consent")
            .order_by(log_leaf.c.number.desc())
            .limit(_ENTRIES)
        )
        with core.engine.connect() as connection:
            rows = [(int(r.number), bytes(r.sealed)) for r in connection.execute(query)]
        items: dict[str, p.ConsentItem] = {}
        for number, sealed in reversed(rows):
            read = read_concern(core.log.open(number, sealed)[1])
            if read is None or read[1].patient_id != patient_id:
                continue
            told, at = details_of(read[0]), datetime.fromisoformat(str(read[0]["recorded"]))
            given = told.get("withdrawn") == "no"
            items[told["purpose"]] = p.ConsentItem(
                told["purpose"], given, told.get("state", ""), at.timestamp(), number
            )
        return p.ConsentItems([items[each] for each in sorted(items)])


def _nothing(_tx: Transaction, _prepared: Prepared) -> None:
    return None
