"""The modality worklist out of orders, and performed procedure steps that take them from it.

Rules, in order:
1. A device with the right `worklist` sees steps that are scheduled for one of its AE titles, or for none where the
   order's department is its own. Nobody else's are told from those that do not exist.
2. A page is durable as an entry before it is answered. Matching and paging come after rule 1.
3. A step belongs to the device that created it; it ends once, completed or discontinued, and says nothing afterwards.
4. A performed step takes the order that it names from the worklist; one that names none, or another's, is kept alone.
"""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.care_tables import care_relation, performed_step
from ribcage.evidence.audit_event import CareTold, QueryAnswered, QueryRefused
from ribcage.guard import matching
from ribcage.guard import protocol as p
from ribcage.guard.care import Care
from ribcage.guard.care_plan import Relation, ends
from ribcage.guard.care_rows import Row
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.filing import fresh_uid

_MOST = 200
_CHARACTERS = 64
_PROGRESS = {"IN PROGRESS": "in-progress", "COMPLETED": "completed", "DISCONTINUED": "discontinued"}
# What `guard.matching` calls a date and a time.
_AS = {"ScheduledProcedureStepStartDate": "StudyDate", "ScheduledProcedureStepStartTime": "StudyTime"}
_FILTERS = frozenset(
    {
        "PatientName", "PatientID", "IssuerOfPatientID", "AccessionNumber", "ReferringPhysicianName",
        "StudyInstanceUID", "RequestedProcedureID", "Modality", "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime", "ScheduledProcedureStepID",
    }
)  # fmt: skip


class Worklist:
    """For modalities."""

    def __init__(self, core: Core, care: Care) -> None:
        self._core = core
        self._care = care
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, actor: Actor, request: p.AskWorklist) -> p.WorklistAnswer:
        """A page of scheduled steps. Raises GuardRefused('not_permitted' | 'invalid' | 'unavailable')."""
        core = self._core
        await self._check_right(actor)
        if not request.filters.keys() <= _FILTERS or any(len(v) > 256 for v in request.filters.values()):
            raise GuardRefused("invalid")
        filters = {_AS.get(keyword, keyword): value for keyword, value in request.filters.items()}
        for keyword, value in filters.items():
            if keyword in _AS.values() and value:
                (matching.date_range if keyword == "StudyDate" else matching.time_range)(value)
        found = []
        for relation in sorted(self._scheduled(actor), key=lambda each: each.identifier):
            values = self._values(relation)
            asked = {_AS.get(keyword, keyword): value for keyword, value in values.items()}
            if relation.identifier > request.after and matching.matches(filters, asked, masked=False):
                found.append((relation.identifier, values))
        wanted = min(max(request.limit, 1), _MOST)
        page, more = found[:wanted], len(found) > wanted
        event = QueryAnswered(
            actor.evidence, "dimse", "worklist", tuple(request.filters), (), len(page), more
        )
        await core.note(event)
        return p.WorklistAnswer([values for _, values in page], page[-1][0] if page else b"", more)

    async def _check_right(self, actor: Actor) -> None:
        if actor.device is not None and "worklist" in actor.device.may:
            return
        event = QueryRefused(actor.evidence, "dimse", "worklist", f"{actor.kind}-without-worklist")
        raise GuardRefused("not_permitted", await self._core.note(event))

    def _scheduled(self, actor: Actor) -> list[Relation]:
        """Rule 1."""
        now, rows = self._core.clock(), self._care.rows
        return [
            each
            for each in rows.relations.values()
            if each.facts.order is not None
            and each.standing.state == "open"
            and rows.progress.get(each.identifier, "") == "scheduled"
            and ends(each, self._core.limits) > now
            and _is_for(actor, each.facts.order)
        ]

    def _values(self, relation: Relation) -> dict[str, str]:
        """One step by keyword."""
        facts, order = relation.facts, relation.facts.order
        if order is None:
            return {}
        return {
            "PatientName": facts.name,
            "PatientID": facts.identifier,
            "IssuerOfPatientID": facts.issuer,
            "PatientBirthDate": facts.birth_date,
            "PatientSex": facts.sex,
            "AccessionNumber": order.accession,
            "ReferringPhysicianName": order.referring,
            "StudyInstanceUID": self._study_uid(relation),
            "RequestedProcedureID": order.procedure_id or order.number,
            "RequestedProcedureDescription": order.description,
            "Modality": order.modality,
            "ScheduledStationAETitle": order.station,
            "ScheduledProcedureStepStartDate": order.start[:8],
            "ScheduledProcedureStepStartTime": order.start[8:],
            "ScheduledProcedureStepDescription": order.description,
            "ScheduledProcedureStepID": order.step_id or order.number,
            "code": order.code,
            "scheme": order.scheme,
            "meaning": order.description,
        }

    def _study_uid(self, relation: Relation) -> str:
        told = relation.facts.order.study_uid if relation.facts.order is not None else ""
        return told or fresh_uid(self._core.blind, "order", relation.identifier.hex())

    # --- performed steps --------------------------------------------------------------------------------

    async def performed(self, actor: Actor, request: p.ReportStep) -> p.Noted:
        """Rules 3 and 4. Raises GuardRefused('not_permitted' | 'conflict' | 'not_found' | 'invalid')."""
        core, rows = self._core, self._care.rows
        await self._check_right(actor)
        if not 0 < len(request.uid) <= _CHARACTERS:
            raise GuardRefused("invalid")
        async with self._one_at_a_time:
            order = self._named(actor, request) if request.new else None
            try:
                changed = await core.committer.run(lambda tx: self._write(tx, actor, request, order))
            except RowTampered as failure:
                raise GuardRefused("unavailable") from failure
            rows.take(care_relation, [changed] if changed is not None else [])
        return p.Noted()

    def _write(
        self, tx: Transaction, actor: Actor, request: p.ReportStep, order: Relation | None
    ) -> Row | None:
        """The step's row and entry; the order's next row. Raises GuardRefused('conflict' | 'not_found')."""
        core, progress = self._core, _PROGRESS[request.status]
        step = self._step(tx.connection, request.uid)
        if request.new != (step is None):
            raise GuardRefused("conflict" if request.new else "not_found")
        if step is not None and bytes(step["device_id"]) != actor.identifier:
            raise GuardRefused("not_found")
        if step is not None and step["state"] != "in-progress":
            raise GuardRefused("conflict")
        token = core.blind.exact("performed-step", request.uid)
        relation_id = bytes(step["relation_id"]) if step is not None else order.identifier if order else b""
        values = {"state": progress, "at": core.clock()}
        if step is None:
            own = {"id": token, "device_id": actor.identifier, "relation_id": relation_id}
            core.rows.insert(tx.connection, performed_step, {**own, **values})
        else:
            core.rows.update(tx.connection, performed_step, {**step, **values})
        told = (relation_id,) if relation_id else ()
        core.append(tx, CareTold(actor.evidence, f"MPPS-{progress}", token, relations=told))
        query = sa.select(care_relation).where(care_relation.c.id == relation_id)
        row = tx.connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        return self._care.rows.write_progress(tx.connection, core.rows.check(care_relation, row), progress)

    def _step(self, connection: sa.Connection, uid: str) -> Row | None:
        token = self._core.blind.exact("performed-step", uid)
        query = sa.select(performed_step).where(performed_step.c.id == token)
        row = connection.execute(query).mappings().one_or_none()
        return None if row is None else self._core.rows.check(performed_step, row)

    def _named(self, actor: Actor, request: p.ReportStep) -> Relation | None:
        """The scheduled step that this one performs, among those that the device may see."""
        for relation in self._scheduled(actor):
            values = self._values(relation)
            for each in request.scheduled:
                same_step = each.step_id == values["ScheduledProcedureStepID"]
                same_study = each.study_uid == values["StudyInstanceUID"]
                same_accession = bool(each.accession) and each.accession == values["AccessionNumber"]
                if same_step and (same_study or same_accession):
                    return relation
        return None


def _is_for(actor: Actor, order: p.CareOrder) -> bool:
    if actor.device is None:
        return False
    if order.station:
        return order.station in actor.device.ae_titles
    return bool(order.department) and order.department.casefold() == actor.device.department.casefold()
