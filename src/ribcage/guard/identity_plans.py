"""What a change of identity does to each study, worked out before anything is touched (`guard.identity_changes`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.database.schema import destruction, patient, study
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.catalogue import HeldPatient, HeldStudy
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.identities import Layer, Layers, Named

STUDIES = 400  # one entry names them all
Row = dict[str, Any]


class Asked(msgspec.Struct):
    """What was asked, sealed until it ends."""

    patient: bytes = b""
    into: str = ""
    into_id: bytes = b""
    studies: list[str] = []
    patient_name: str | None = None
    patient_birth_date: str | None = None
    patient_sex: str | None = None
    named: Named | None = None  # the patient that stays, where it has no study of its own
    moves: list[tuple[bytes, str, bytes, bytes]] = []  # key id, Study UID, patients before and after


@dataclass
class Plan:
    """What one change does to each study, and to the link between patients."""

    studies: list[tuple[HeldStudy, HeldPatient, Layers]] = field(default_factory=list)
    link: Row | None = None
    patients: set[bytes] = field(default_factory=set)

    @property
    def key_ids(self) -> list[bytes]:
        """The studies' keys."""
        return [held.key_id for held, _, _ in self.studies]


class Planner:
    """Plans; writes nothing but a patient who is new."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def understood(self, request: p.AskIdentityChange) -> Asked:
        """Raises GuardRefused('invalid' | 'not_found' | 'conflict')."""
        core, kind = self._core, request.kind
        by_study = kind in ("move", "split") or (kind == "correct" and not request.patient)
        if (kind == "undo") != (request.undoes > 0) or by_study != bool(request.studies):
            raise GuardRefused("invalid")
        names = (request.patient_name, request.patient_birth_date, request.patient_sex)
        if kind == "correct" and names == (None, None, None):
            raise GuardRefused("invalid")
        asked = Asked(studies=sorted(set(request.studies)), into=request.into)
        asked.patient_name, asked.patient_birth_date, asked.patient_sex = names
        if kind == "merge" or (kind == "correct" and request.patient):
            asked.patient = self._unmerged(request.patient)
        if kind == "merge":
            asked.into_id = self._unmerged(request.into)
            if asked.patient == asked.into_id:
                raise GuardRefused("invalid")
        if kind in ("move", "split"):
            token = catalogue.written_token(core, request.into)
            if token is None or len(asked.studies) > STUDIES:
                raise GuardRefused("invalid")
            known = self._known(token)
            if (known is None) != (kind == "split"):
                raise GuardRefused("not_found" if kind == "move" else "conflict")
        return asked

    def _unmerged(self, written: str) -> bytes:
        """A patient by name who is not merged into another now. Raises GuardRefused."""
        core, token = self._core, catalogue.written_token(self._core, written)
        found = None if token is None else self._known(token)
        if found is None:
            raise GuardRefused("not_found")
        if core.identities.link(found) is not None:
            raise GuardRefused("conflict")
        return found

    def _known(self, token: bytes) -> bytes | None:
        """The patient of a token, merged or not."""
        with self._core.engine.connect() as connection:
            found = connection.execute(sa.select(patient.c.id).where(patient.c.id_token == token)).scalar()
        return None if found is None else bytes(found)

    def plan(self, connection: sa.Connection, row: Row, asked: Asked) -> Plan:
        """What is to be done. Raises GuardRefused('not_found' | 'conflict' | 'unavailable')."""
        if row["kind"] == "undo":
            plan = self._undo(connection, int(row["undoes"]))
        else:
            plan = self._change(connection, row, asked)
        plan.patients |= {held.patient_id for held, _, _ in plan.studies}
        plan.patients |= {whose.patient_id for _, whose, _ in plan.studies}
        if len(plan.studies) > STUDIES:
            raise GuardRefused("conflict")
        self._check_not_closed(connection, plan)
        return plan

    def _change(self, connection: sa.Connection, row: Row, asked: Asked) -> Plan:
        core, kind, plan = self._core, row["kind"], Plan()
        target: HeldPatient | None = None
        if kind == "merge":
            target = catalogue.patient_by_id(core, connection, asked.into_id)
            whose = catalogue.patient_by_id(core, connection, asked.patient)
            if core.identities.link(asked.patient) or core.identities.link(asked.into_id):
                raise GuardRefused("conflict")
            plan.patients = {asked.patient, asked.into_id}
            plan.link = {
                "id": asked.patient,
                "key_id": whose.key_id,
                "into_id": asked.into_id,
                "change": row["number"],
                "standing": 1,
            }
        elif kind in ("move", "split"):
            found = catalogue.find_or_make_patient(
                core, connection, catalogue.written_token(core, asked.into)
            )
            target = catalogue.now_patient(core, connection, found)
        for held in self.held(connection, asked):
            whose = target or catalogue.patient_by_id(core, connection, held.patient_id)
            plan.studies.append((held, whose, self._layered(connection, row, asked, held, whose)))
        return plan

    def held(self, connection: sa.Connection, asked: Asked) -> list[HeldStudy]:
        """The studies that were asked for. Raises GuardRefused('not_found' | 'unavailable')."""
        core, uids = self._core, asked.studies
        if asked.patient:
            query = sa.select(study.c.uid).where(study.c.patient_id == asked.patient).order_by(study.c.pk)
            uids = [str(uid) for (uid,) in connection.execute(query.limit(STUDIES + 1))]
        found = []
        for uid in uids:
            held = catalogue.hold(core, connection, uid)
            if held is None:
                raise GuardRefused("not_found")
            found.append(held)
        return found

    def _layered(
        self, connection: sa.Connection, row: Row, asked: Asked, held: HeldStudy, whose: HeldPatient
    ) -> Layers:
        """The study's layers with the new one on top."""
        core, now = self._core, self._core.clock()
        sealed = connection.execute(sa.select(study.c.sealed).where(study.c.pk == held.pk)).scalar_one()
        facts = catalogue.facts_of(held, bytes(sealed))
        below = catalogue.patient_by_id(core, connection, held.patient_id)
        layers = list(held.layers) or [
            Layer(0, below.patient_id, below.key_id, catalogue.named_in(facts), True, now)
        ]
        kind = row["kind"]
        if kind == "correct":
            named = catalogue.named_in(facts)
        elif kind == "split":
            identifier, _, issuer = asked.into.partition("|")
            named = msgspec.structs.replace(
                catalogue.named_in(facts), patient_id=identifier, issuer_of_patient_id=issuer
            )
        else:
            named = self._names(connection, whose, asked)
        given = {
            name: value
            for name in ("patient_name", "patient_birth_date", "patient_sex")
            if (value := getattr(asked, name)) is not None
        }
        named = msgspec.structs.replace(named, **given)
        kept = kind in ("merge", "correct")
        return [*layers, Layer(int(row["number"]), whose.patient_id, whose.key_id, named, kept, now)]

    def _names(self, connection: sa.Connection, whose: HeldPatient, asked: Asked) -> Named:
        """The patient as its newest study has it, else as it was told. Raises GuardRefused('not_found')."""
        try:
            return catalogue.newest_names(self._core, connection, whose)
        except GuardRefused:
            if asked.named is None:
                raise
            return asked.named

    def _undo(self, connection: sa.Connection, number: int) -> Plan:
        """Rule 4."""
        core, plan = self._core, Plan()
        for row in core.identities.rows():
            changes = [int(each) for each in str(row["changes"]).split()]
            if number not in changes:
                continue
            if changes[-1] != number:
                raise GuardRefused("conflict")
            uid = connection.execute(sa.select(study.c.uid).where(study.c.key_id == row["id"])).scalar()
            held = catalogue.hold(core, connection, str(uid))
            if held is None:
                raise GuardRefused("unavailable")
            below = catalogue.patient_by_id(core, connection, held.layers[-2].patient)
            plan.studies.append((held, below, list(held.layers[:-1])))
        for link in (link for link in core.identities.links() if link["change"] == number):
            plan.link = dict(link, standing=0)
            plan.patients |= {bytes(link["id"]), bytes(link["into_id"])}
            if core.identities.link(bytes(link["into_id"])) is not None:
                raise GuardRefused("conflict")
        return plan

    def _check_not_closed(self, connection: sa.Connection, plan: Plan) -> None:
        """Rule 3. Raises GuardRefused('conflict')."""
        query = sa.select(sa.func.count()).where(
            destruction.c.state.in_(("asked", "approved", "executing")),
            sa.or_(destruction.c.study_key_id.in_(plan.key_ids), destruction.c.patient_id.in_(plan.patients)),
        )
        closed = any(self._core.closed.closes(key_id) for key_id in plan.key_ids)
        if closed or connection.execute(query).scalar_one():
            raise GuardRefused("conflict")
