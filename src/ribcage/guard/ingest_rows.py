"""What one instance writes in the database: its entry, and the rows of index or of conflicts.

All of it inside the transaction that makes the instance durable (`guard.ingest` has the rules).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, seal_column
from ribcage.crypto.sealing import Algorithm
from ribcage.database.prepared import Prepared
from ribcage.database.schema import filed, instance, parked, series, study
from ribcage.evidence.audit_event import Event, InstanceParked, InstanceStored
from ribcage.guard import catalogue
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor
from ribcage.guard.protocol import Admit, Attributes, Commit

_OF_SERIES = series.c.uid == sa.bindparam("series")
_LOOK = Prepared(
    sa.select(
        sa.select(instance.c.data_set_sha256).where(instance.c.uid == sa.bindparam("uid")).scalar_subquery(),
        sa.or_(
            sa.exists().where(parked.c.data_set_sha256 == sa.bindparam("hash")),
            sa.exists().where(filed.c.data_set_sha256 == sa.bindparam("hash")),
        ),
        sa.select(series.c.pk).where(_OF_SERIES).scalar_subquery(),
        sa.select(series.c.study_pk).where(_OF_SERIES).scalar_subquery(),
        sa.select(study.c.patient_id).where(study.c.pk == sa.bindparam("study")).scalar_subquery(),
    )
)
_ADD_SERIES = Prepared(sa.insert(series), ["uid", "study_pk", "modality", "sealed"])
_ADD_INSTANCE = Prepared(
    sa.insert(instance), [column.name for column in instance.columns if column.name != "pk"]
)


@dataclass
class Admission:
    """One open admission: who asked, for what, and the key that was given. `key_context`: of a parked key's wrap."""

    actor: Actor
    request: Admit
    object_id: bytes
    key_id: bytes
    key: bytes
    study: HeldStudy
    epoch: int
    opened_at: float
    parked: str  # "" or the reason
    key_context: bytes
    ahead: bool = (
        False  # given before the instance was known: `request` is that of the one before, or of its header
    )


@dataclass(frozen=True, slots=True)
class Held:
    """What the index has of an instance's UIDs and hash, in one look.

    `series_owner`: the series' study. `patient`: of the study that was named.
    """

    data_set_sha256: bytes | None
    parked_twin: bool  # who sends the same conflict again fills no disk: it is held apart, or was filed
    series_pk: int | None
    series_owner: int | None
    patient: bytes | None = None


NOTHING_HELD = Held(None, False, None, None)
_NO_STUDY = -1


def look(connection: sa.Connection, request: Admit, study_pk: int = _NO_STUDY) -> Held:
    """What the index has of this instance, and of that study, now."""
    a = request.attributes
    asked = {
        "uid": a.sop_instance_uid,
        "hash": request.data_set_sha256,
        "series": a.series_instance_uid,
        "study": study_pk,
    }
    row = _LOOK.one(connection, asked)
    return NOTHING_HELD if row is None else Held(row[0], bool(row[1]), *row[2:])


def event_of(admission: Admission, request: Commit) -> Event:
    """The entry of this instance."""
    asked = admission.request
    if admission.parked:
        return InstanceParked(
            actor=admission.actor.evidence,
            object_id=admission.object_id,
            data_set_sha256=asked.data_set_sha256,
            reason=admission.parked,
            ordinal=0,
        )
    return InstanceStored(
        actor=admission.actor.evidence,
        object_id=admission.object_id,
        data_set_sha256=asked.data_set_sha256,
        study=admission.study.key_id,
        octets=request.file_bytes,
    )


def object_row(received_at: float, admission: Admission, request: Commit, index: int) -> dict[str, object]:
    """The columns that index and conflicts share."""
    return {
        "object_id": admission.object_id,
        "key_id": admission.key_id,
        "epoch": admission.epoch,
        "algorithm": int(Algorithm.AES_256_GCM),
        "location": request.location,
        "file_bytes": request.file_bytes,
        "header_plain_bytes": request.header_plain_bytes,
        "bulk_plain_bytes": request.bulk_plain_bytes,
        "prefix_bytes": request.prefix_bytes,
        "header_sealed_bytes": request.header_sealed_bytes,
        "bulk_sealed_bytes": request.bulk_sealed_bytes,
        "data_set_sha256": admission.request.data_set_sha256,
        "file_sha256": request.file_sha256,
        "transfer_syntax_uid": admission.request.transfer_syntax_uid,
        "received_at": received_at,
        "source": admission.actor.source,
        "log_index": index,
    }


def log_index(tx: Transaction, asked: Admit) -> int:
    """The entry of an instance that is held."""
    query = sa.select(instance.c.log_index).where(instance.c.uid == asked.attributes.sop_instance_uid)
    return int(tx.connection.execute(query).scalar_one())


def log_index_apart(tx: Transaction, asked: Admit) -> int:
    """The entry of an instance that is held apart, or was and is filed."""
    same = asked.data_set_sha256
    waiting = sa.select(parked.c.log_index).where(parked.c.data_set_sha256 == same)
    twins = sa.select(filed.c.id).where(filed.c.data_set_sha256 == same)
    beside = sa.select(instance.c.log_index).where(instance.c.object_id.in_(twins))
    return int(tx.connection.execute(waiting.union_all(beside).limit(1)).scalar_one())


def park(tx: Transaction, admission: Admission, row: dict[str, object]) -> None:
    """The row of a conflict, its attributes sealed."""
    context = column_context("parked", "sealed", admission.object_id)
    sealed = seal_column(admission.key, context, msgspec.json.encode(admission.request.attributes))
    values = dict(row, reason=admission.parked, sealed=sealed, key_context=admission.key_context)
    tx.connection.execute(sa.insert(parked), values)


def index(tx: Transaction, a: Attributes, study: HeldStudy, held: Held, row: dict[str, object]) -> None:
    """The row of an instance, and of its series where it is the first."""
    series_pk = held.series_pk
    if series_pk is None:
        facts = catalogue.SeriesFacts(a.series_number, a.series_description, a.body_part_examined)
        sealed = catalogue.seal_series(study.patient_key, a.series_instance_uid, facts)
        values = {
            "uid": a.series_instance_uid,
            "study_pk": study.pk,
            "modality": a.modality,
            "sealed": sealed,
        }
        series_pk = _ADD_SERIES.write(tx.connection, values)
    _ADD_INSTANCE.write(
        tx.connection,
        dict(
            row,
            uid=a.sop_instance_uid,
            series_pk=series_pk,
            study_pk=study.pk,
            sop_class_uid=a.sop_class_uid,
            instance_number=a.instance_number,
            rows=a.rows,
            columns=a.columns,
            bits_allocated=a.bits_allocated,
            number_of_frames=a.number_of_frames,
        ),
    )
