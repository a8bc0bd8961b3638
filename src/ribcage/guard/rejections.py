"""Rejection notes: what is not to be used is not shown, and nothing is lost (docs/adr/0014).

Rules, in order (IHE RAD TF-2 4.66):
1. Only a device with the right `reject`, or an operator's import, rejects; so many notes an hour, each with an entry
   and an alarm. Who may not is refused, and nothing is stored.
2. A note rejects instances of its own study that are there, under their class, and no other note. One that names
   anything else is refused as a whole.
3. What is rejected, and the note, are neither found nor disclosed from the commit on. Rejected for quality (113001),
   it is still shown to devices that may reject.
4. Objects, rows and keys stay; `verify` still proves them. What arrives again is held already and stays hidden.
5. An officer or administrator takes a note back (`guard.approvals`): its instances are shown as before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, Literal

import sqlalchemy as sa

from ribcage.database.schema import instance, rejected, rejection, study
from ribcage.evidence.audit_event import (
    DeviceActor,
    OperatorActor,
    PersonActor,
    RejectionChanged,
    RejectionRefused,
)
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused

QUALITY: Final = "113001"
_AT_ONCE, _HOUR_SECONDS = 500, 3600.0
Row = dict[str, Any]


class Rejections:
    """Takes notes and takes them back."""

    def __init__(self, core: Core, approvals: Approvals, changed: Callable[[Collection[str]], None]) -> None:
        """`changed(Study UIDs)` is called when something of a study was hidden or is shown again."""
        self._core = core
        self._approvals = approvals
        self._changed = changed

    # --- on the way in ----------------------------------------------------------------------------------

    async def check(self, actor: Actor, request: p.Admit) -> None:
        """Rules 1 and 2, before a key is given. Raises GuardRefused (its entry is durable)."""
        if request.rejection is None:
            return
        try:
            _check_right(actor)
            with self._core.engine.connect() as connection:
                self._check_rate(connection, actor)
                self._objects(connection, request)
        except GuardRefused as refused:
            core = self._core
            event = RejectionRefused(actor.evidence, request.rejection.code, request.channel, refused.reason)
            index = await core.note(event)
            core.alarms.sound(p.Alarm("rejection-refused", core.clock()))
            raise GuardRefused(refused.reason, index) from refused

    def write(self, tx: Transaction, actor: Actor, request: p.Admit, held: HeldStudy, note_id: bytes) -> None:
        """Rule 3: in the transaction of the note itself. Raises GuardRefused."""
        core, connection = self._core, tx.connection
        if request.rejection is None:
            return
        _check_right(actor)
        objects = self._objects(connection, request)
        last = connection.execute(sa.select(sa.func.max(rejection.c.number))).scalar()
        row: Row = {
            "id": note_id,
            "number": int(last or 0) + 1,
            "study_key_id": held.key_id,
            "code": request.rejection.code,
            "state": "standing",
            "instances": len(objects),
            "source": actor.source,
            "at": core.clock(),
            "undone_by": None,
        }
        core.rows.insert(connection, rejection, row)
        for object_id in [*objects, note_id]:
            values = {"id": object_id, "note_id": note_id, "code": row["code"], "study_key_id": held.key_id}
            core.rows.insert(connection, rejected, values)
        event = _event(actor.evidence, row, "rejected", held.patient_id)
        core.append(tx, event)

    def took(self, request: p.Admit) -> None:
        """A note was committed: nobody goes on with what it hides, and a person hears of it."""
        if request.rejection is not None:
            core = self._core
            core.any_rejected = True
            core.alarms.sound(p.Alarm("rejection", core.clock()))
            self._changed({request.attributes.study_instance_uid})

    def _check_rate(self, connection: sa.Connection, actor: Actor) -> None:
        recent = sa.select(sa.func.count()).where(
            rejection.c.source == actor.source, rejection.c.at > self._core.clock() - _HOUR_SECONDS
        )
        if int(connection.execute(recent).scalar_one()) >= self._core.limits.rejections_per_hour:
            raise GuardRefused("throttled")

    @staticmethod
    def _objects(connection: sa.Connection, request: p.Admit) -> list[bytes]:
        """Object ids of what the note rejects (rule 2). Raises GuardRefused('conflict')."""
        note, own = request.rejection, request.attributes.study_instance_uid
        wanted = {} if note is None else {each.instance: each for each in note.instances}
        if any(each.study != own or each.sop_class == p.KEY_OBJECT_SELECTION for each in wanted.values()):
            raise GuardRefused("conflict")
        uids, found = list(wanted), list[bytes]()
        for first in range(0, len(uids), _AT_ONCE):
            query = (
                sa.select(instance.c.uid, instance.c.object_id, instance.c.sop_class_uid)
                .join(study, study.c.pk == instance.c.study_pk)
                .where(study.c.uid == own, instance.c.uid.in_(uids[first : first + _AT_ONCE]))
            )
            for uid, object_id, sop_class in connection.execute(query):
                if wanted[str(uid)].sop_class != sop_class:
                    raise GuardRefused("conflict")
                found.append(bytes(object_id))
        if len(found) != len(uids):
            raise GuardRefused("conflict")
        return found

    # --- afterwards -------------------------------------------------------------------------------------

    async def undo(self, _: Actor, request: p.UndoRejection) -> p.RejectionItem:
        """Rule 5. Raises GuardRefused('not_found' | 'conflict')."""
        core, by = self._core, await self._approvals.verify(request.by)

        def write(tx: Transaction) -> tuple[Row, str]:
            query = sa.select(rejection).where(rejection.c.number == request.number)
            row = tx.connection.execute(query).mappings().one_or_none()
            if row is None:
                raise GuardRefused("not_found")
            checked = core.rows.check(rejection, row)
            if checked["state"] != "standing":
                raise GuardRefused("conflict")
            hidden = rejected.c.note_id == row["id"]
            tx.connection.execute(sa.delete(rejected).where(hidden, rejected.c.id != row["id"]))
            of = sa.select(study.c.uid, study.c.patient_id).where(study.c.key_id == row["study_key_id"])
            uid, patient_id = tx.connection.execute(of).one()
            event = _event(by, dict(row), "undone", bytes(patient_id))
            core.append(tx, event)
            undone = {"state": "undone", "undone_by": by.person}
            return core.rows.update(tx.connection, rejection, dict(checked, **undone)), str(uid)

        row, uid = await core.committer.run(write)
        self._changed({uid})
        return _item(row)

    def page(self, request: p.RejectionPage) -> p.RejectionItems:
        """Notes in order."""
        query = sa.select(rejection).where(rejection.c.number >= request.start).order_by(rejection.c.number)
        with self._core.engine.connect() as connection:
            rows = connection.execute(query.limit(min(max(request.count, 0), 1000))).mappings().all()
        return p.RejectionItems(items=[_item(dict(row)) for row in rows])


def _check_right(actor: Actor) -> None:
    """Rule 1. Raises GuardRefused('not_permitted')."""
    if actor.kind != "operator" and (actor.device is None or "reject" not in actor.device.may):
        raise GuardRefused("not_permitted")


def shown(core: Core, actor: Actor | None) -> list[sa.ColumnElement[bool]]:
    """Conditions on `instance`: what this actor may be shown at all (rule 3); None: nobody special."""
    if not core.any_rejected:
        return []
    hides = [rejected.c.id == instance.c.object_id]
    if actor is not None and actor.device is not None and "reject" in actor.device.may:
        hides.append(rejected.c.code != QUALITY)
    return [~sa.exists().where(*hides)]


def any_rejected(connection: sa.Connection) -> bool:
    """Whether anything ever was rejected."""
    return connection.execute(sa.select(rejected.c.id).limit(1)).scalar() is not None


def _event(
    by: DeviceActor | PersonActor | OperatorActor,
    row: Row,
    change: Literal["rejected", "undone"],
    patient_id: bytes,
) -> RejectionChanged:
    number, instances = int(row["number"]), int(row["instances"])
    return RejectionChanged(
        by, number, change, str(row["code"]), bytes(row["study_key_id"]), patient_id, instances
    )


def _item(row: Row) -> p.RejectionItem:
    return p.RejectionItem(
        number=int(row["number"]),
        code=row["code"],
        state=row["state"],
        instances=int(row["instances"]),
        source=str(row["source"]),
        at=float(row["at"]),
    )
