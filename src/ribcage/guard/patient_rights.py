"""A patient stops others from seeing: objections of the patient's own making, and what stands.

Rules, in order:
1. An objection is the operator's one (`guard.rights`) with the patient as actor: on the ledger, in force when
   answered, live disclosures asked again.
2. It names everybody or a label that this patient was shown.
3. What stands is read from the log's entries of this patient, whoever wrote them down.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import grant_note, log_leaf, patient, patient_entry, study
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.accounts import Throttle
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.patient_access import PatientAccess, PatientVisitor
from ribcage.guard.patient_entries import details_of, read_concern
from ribcage.guard.patient_list import PatientList
from ribcage.guard.patient_people import PatientPeople
from ribcage.guard.rights import Rights
from ribcage.ledger.errors import LedgerError

_HOUR = 3600
_EVERYBODY = "*"
_OBJECTIONS = 10_000
_GRANTS_LOOKED_AT = 20_000
_GRANTS_SHOWN = 200
_OF: dict[str, Literal["study", "patient", "department"]] = {
    "study": "study",
    "patient": "patient",
    "department": "department",
}
_Note = tuple[str, str, str, str, float]  # subject, resource, view, purpose, valid until


class PatientOwnRights:
    """Objections and grants as one patient sees them."""

    def __init__(self, core: Core, access: PatientAccess, listed: PatientList, rights: Rights) -> None:
        self._core = core
        self._access = access
        self._list = listed
        self._rights = rights
        self._throttle = Throttle(core.limits.patient_objections_per_hour, _HOUR)

    async def object(self, request: p.PatientObjects) -> p.PatientRights:
        """Set or withdraw one. Raises GuardRefused('not_found' | 'throttled' | 'unavailable')."""
        core, visitor = self._core, self._access.visitor(request.session)
        key = visitor.patient_id.hex()
        self._throttle.check(key, core.clock())
        self._throttle.failed(key, core.clock())
        subject = self._subject(visitor, request.subject)
        whose = (visitor.patient_id, core.patient_resource(visitor.key))
        await self._rights.object(visitor.evidence, whose, subject, request.standing)
        return p.PatientRights(self._objections(visitor), [])

    def _subject(self, visitor: PatientVisitor, written: str) -> bytes | None:
        if written == _EVERYBODY:
            return None
        subject = PatientPeople(self._core, visitor.key).find(written)
        if subject is None:
            raise GuardRefused("not_found")
        return subject

    async def page(self, request: p.ListPatientRights) -> p.PatientRights:
        """What stands now."""
        visitor = self._access.visitor(request.session)
        self._list.count(visitor)
        notes = await asyncio.to_thread(self._notes)
        return p.PatientRights(self._objections(visitor), self._grants(visitor, notes))

    # --- objections -------------------------------------------------------------------------------------

    def _objections(self, visitor: PatientVisitor) -> list[p.ObjectionItem]:
        core = self._core
        query = (
            sa.select(log_leaf.c.number, log_leaf.c.sealed)
            .join(patient_entry, patient_entry.c.number == log_leaf.c.number)
            .where(patient_entry.c.patient_id == visitor.patient_id, patient_entry.c.kind == "objection")
            .order_by(log_leaf.c.number)
            .limit(_OBJECTIONS)
        )
        with core.engine.connect() as connection:
            rows = [(int(r.number), bytes(r.sealed)) for r in connection.execute(query)]
        standing: dict[str, float] = {}
        for number, sealed in rows:
            read = read_concern(core.log.open(number, sealed)[1])
            if read is None or read[1].patient_id != visitor.patient_id:
                continue
            details = details_of(read[0])
            if details.get("standing") == "yes":
                at = datetime.fromisoformat(str(read[0]["recorded"])).timestamp()
                standing.setdefault(details["subject"], at)
            else:
                standing.pop(details["subject"], None)
        everybody = PatientPeople(core, visitor.key).by_subject() if standing else {}
        return [_objection(subject, since, everybody) for subject, since in standing.items()]

    # --- grants -----------------------------------------------------------------------------------------

    def _notes(self) -> list[tuple[int, _Note]]:
        """Blocking: the newest grants as they were written."""
        core = self._core
        query = sa.select(grant_note).order_by(grant_note.c.grant_id.desc()).limit(_GRANTS_LOOKED_AT)
        with core.engine.connect() as connection:
            rows = [(int(row.grant_id), bytes(row.sealed)) for row in connection.execute(query)]
        found, key = [], core.keyring.service("log")
        for number, sealed in rows:
            try:
                subject, resource, view, purpose, until, *_ = json.loads(
                    open_column(key, column_context("grant_note", "sealed", number), sealed)
                )
            except (CryptoError, ValueError) as failure:
                raise GuardRefused("unavailable") from failure
            found.append((number, (str(subject), str(resource), str(view), str(purpose), float(until))))
        return found

    def _grants(self, visitor: PatientVisitor, notes: list[tuple[int, _Note]]) -> list[p.PatientGrantItem]:
        core, now = self._core, self._core.clock()
        query = sa.select(study.c.uid, study.c.department).where(study.c.patient_id == visitor.patient_id)
        me = sa.select(patient.c.id_token).where(patient.c.id == visitor.patient_id)
        with core.engine.connect() as connection:
            rows = connection.execute(query).all()
            token = connection.execute(me).scalar()
        mine = {f"study:{row.uid}" for row in rows} | {f"department:{row.department}" for row in rows}
        people, items = PatientPeople(core, visitor.key), list[p.PatientGrantItem]()
        for number, (subject, resource, view, purpose, until) in notes:
            if now >= until or not (resource in mine or self._names(resource, token)):
                continue
            try:
                revoked = core.ledger.grant(number).revoked
            except LedgerError as failure:
                raise GuardRefused("unavailable") from failure
            if not revoked:
                kind = resource.partition(":")[0]
                items.append(p.PatientGrantItem(people.by_name(subject), view, purpose, until, _OF[kind]))
            if len(items) == _GRANTS_SHOWN:
                break
        return items

    def _names(self, resource: str, token: bytes | None) -> bool:
        """Whether a grant's 'patient:ID|ISSUER' is the patient with this token."""
        kind, _, written = resource.partition(":")
        return (
            kind == "patient" and token is not None and catalogue.written_token(self._core, written) == token
        )


def _objection(subject: str, since: float, everybody: dict[bytes, p.Somebody]) -> p.ObjectionItem:
    nobody = p.Somebody("", "", "unknown", "")
    if subject == "everybody":
        return p.ObjectionItem(_EVERYBODY, nobody, since)
    who = everybody.get(bytes.fromhex(subject), nobody)
    return p.ObjectionItem(who.label, who, since)
