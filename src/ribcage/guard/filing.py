"""A parked instance becomes part of a study: accepted where its UIDs point, or attached elsewhere (docs/adr/0014).

Rules, in order:
1. Two persons (`guard.conflicts`). What is held already stays as it is: the newcomer is filed beside it.
2. The newcomer's bytes are kept: sealed anew under the study's key, so that they die with it, and proven equal by
   their hash. The key that was theirs alone is destroyed afterwards.
3. A UID that is free, or already the study's own, stays. Else a fresh one is derived (2.25) and recorded; what
   leaves in the masked and the full view carries it, and in the full view the study's patient. The original view
   never changes.
4. Nothing is filed into a study that was closed or destroyed, and nothing that was sent to one is filed elsewhere:
   such a conflict waits, or is discarded.
5. Routing rules are asked in the same commit (`guard.routing`).
6. The commit of the rows decides. A crash before it leaves the conflict and a stray file; one after it leaves the
   marked row of a conflict, whose key and file the next start destroys (`finish_all`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ribcage.crypto.blind import BlindIndex
from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.sealing import Envelope, Stream, seal_into, sealed_size
from ribcage.database.schema import filed, instance, parked, series, study
from ribcage.evidence.audit_event import ConflictResolved, InstanceStored, PersonActor
from ribcage.guard import catalogue, erasure, ingest_rows
from ribcage.guard import protocol as p
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.durable import make_folder, sync_folder
from ribcage.guard.errors import GuardRefused
from ribcage.guard.identities import Named
from ribcage.guard.ingest_rows import Held
from ribcage.guard.objects import open_streams, owner_of, stream_keys
from ribcage.guard.routing import Routing

FILED: Final = "filed"  # reason of a row whose instance was filed: its key and file are to be destroyed
_FINAL: Final = frozenset({"study_destroyed", FILED})
_MOST_BYTES: Final = 1 << 29  # of one object: it is sealed anew in memory
_ID_BYTES = 16


class Filed(msgspec.Struct, frozen=True):
    """What a filed instance says of itself where the archive says otherwise. `at` in Unix seconds."""

    study: str
    series: str
    instance: str
    named: Named
    at: float


@dataclass(frozen=True)
class _Place:
    """Where an instance goes, and as what."""

    held: HeldStudy
    said: p.Attributes
    sort: p.FilingSort


def said_by(core: Core, row: sa.RowMapping) -> p.Attributes:
    """What a parked instance says of itself. Raises CryptoError."""
    key = core.keyring.key(bytes(row["key_id"]), *owner_of(core, row))
    context = column_context("parked", "sealed", bytes(row["object_id"]))
    return msgspec.json.decode(open_column(key, context, bytes(row["sealed"])), type=p.Attributes)


def seal_filed(study_key: bytes, object_id: bytes, what: Filed) -> bytes:
    """As the row has it (docs/formats.md 10)."""
    return seal_column(study_key, column_context("filed", "sealed", object_id), msgspec.json.encode(what))


def open_filed(study_key: bytes, object_id: bytes, sealed: bytes) -> Filed:
    """The opposite. Raises CryptoError."""
    context = column_context("filed", "sealed", object_id)
    return msgspec.json.decode(open_column(study_key, context, sealed), type=Filed)


def fresh_uid(blind: BlindIndex, *parts: str) -> str:
    """A UID of PS3.5 B.2 that is the same for the same parts, and that nobody else derives."""
    token = blind.exact("fresh-uid", "\0".join(parts))
    return f"2.25.{int.from_bytes(token[:_ID_BYTES], 'big')}"


class Filing:
    """Files one conflict at a time; the caller holds the lock of conflicts."""

    def __init__(self, core: Core, routing: Routing) -> None:
        self._core = core
        self._routing = routing

    async def file(self, by: PersonActor, row: sa.RowMapping, request: p.FileConflict) -> p.ConflictFiled:
        """Rules 2 to 5. Raises GuardRefused('conflict' | 'not_found' | 'unavailable' | 'full')."""
        core = self._core
        if row["reason"] in _FINAL or int(row["file_bytes"]) > _MOST_BYTES:
            raise GuardRefused("conflict")
        core.disk.check_may_store()
        core.clock_watch.check()
        try:
            said = said_by(core, row)
        except CryptoError as failure:
            raise GuardRefused("unavailable") from failure
        place = await core.committer.run(lambda tx: self._place(tx, said, request))
        object_id = os.urandom(_ID_BYTES)
        columns = await asyncio.to_thread(seal_again, core, row, place.held, object_id)
        try:
            answer = await core.committer.run(lambda tx: self._write(tx, by, row, place, columns))
        except GuardRefused:  # where nobody knows whether it was committed, the file stays
            path = Path(core.objects_root) / str(columns["location"])
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise
        self._routing.took()
        await asyncio.to_thread(destroy, core, row)
        await core.committer.run(lambda tx: forget(tx.connection, row))
        return answer

    def _place(self, tx: Transaction, said: p.Attributes, request: p.FileConflict) -> _Place:
        """The study (made now where it is a new one) that takes it. Raises GuardRefused."""
        core = self._core
        if request.study and request.new_study:
            raise GuardRefused("invalid")
        uid = request.study or said.study_instance_uid
        if request.new_study:
            whose = catalogue.patient_token(core, said)
            apart = whose.hex() if whose is not None else said.sop_instance_uid
            uid = fresh_uid(core.blind, "study", said.study_instance_uid, apart)
        held = catalogue.hold(core, tx.connection, uid)
        if held is None and request.new_study:
            sent = catalogue.hold(core, tx.connection, said.study_instance_uid)
            as_new = msgspec.structs.replace(said, study_instance_uid=uid)
            held = catalogue.make_study(core, tx, as_new, sent.department if sent else "radiology")
        if held is None:
            raise GuardRefused("not_found")
        for key_id in {held.key_id, *self._sent_to(tx.connection, said)}:
            if core.closed.closes(key_id):
                raise GuardRefused("conflict")  # rule 4
        return _Place(held, said, "attached" if request.study or request.new_study else "accepted")

    @staticmethod
    def _sent_to(connection: sa.Connection, said: p.Attributes) -> Iterator[bytes]:
        query = sa.select(study.c.key_id).where(study.c.uid == said.study_instance_uid)
        for (key_id,) in connection.execute(query):
            yield bytes(key_id)

    def _write(
        self, tx: Transaction, by: PersonActor, row: sa.RowMapping, place: _Place, columns: dict[str, Any]
    ) -> p.ConflictFiled:
        """Rows and entries; the row of the conflict is marked. Raises GuardRefused('conflict')."""
        core, held, said, connection = self._core, place.held, place.said, tx.connection
        now = connection.execute(sa.select(study.c.patient_id).where(study.c.pk == held.pk)).scalar()
        waiting = sa.select(parked.c.reason).where(parked.c.pk == row["pk"])
        if now != held.patient_id or connection.execute(waiting).scalar() in (None, FILED):
            raise GuardRefused("conflict")
        if core.closed.closes(held.key_id):
            raise GuardRefused("conflict")
        as_filed, series_pk = self._addressed(connection, held, said, columns["object_id"])
        stored = InstanceStored(
            by, columns["object_id"], bytes(row["data_set_sha256"]), held.key_id, int(row["file_bytes"])
        )
        columns["log_index"] = tx.append(core.entry(stored))
        ingest_rows.index(tx, as_filed, held, Held(None, False, series_pk, held.pk), columns)
        self._routing.filed(tx, row, by, as_filed, held)
        named = Named(*(getattr(said, name) for name in Named.__struct_fields__))
        what = Filed(
            said.study_instance_uid, said.series_instance_uid, said.sop_instance_uid, named, core.clock()
        )
        values = {
            "id": columns["object_id"],
            "study_key_id": held.key_id,
            "data_set_sha256": bytes(row["data_set_sha256"]),
            "sealed": seal_filed(held.key, columns["object_id"], what),
        }
        core.rows.insert(connection, filed, values)
        connection.execute(sa.update(parked).where(parked.c.pk == row["pk"]).values(reason=FILED))
        event = ConflictResolved(
            by,
            bytes(row["object_id"]),
            place.sort,
            int(row["log_index"]),
            held.key_id,
            held.patient_id,
            filed=columns["object_id"],
        )
        core.append(tx, event)
        return p.ConflictFiled(held.uid, as_filed.series_instance_uid, as_filed.sop_instance_uid)

    def _addressed(
        self, connection: sa.Connection, held: HeldStudy, said: p.Attributes, object_id: bytes
    ) -> tuple[p.Attributes, int | None]:
        """The attributes under the UIDs it gets (rule 3), and its series' row where that exists."""
        core, series_uid, sop_uid = self._core, said.series_instance_uid, said.sop_instance_uid
        known = _series(connection, series_uid)
        if known is not None and known[1] != held.pk:
            series_uid = fresh_uid(core.blind, "series", held.uid, series_uid)
            known = _series(connection, series_uid)
        taken = sa.select(instance.c.pk).where(instance.c.uid == sop_uid)
        if connection.execute(taken).scalar() is not None:
            sop_uid = fresh_uid(core.blind, "instance", sop_uid, object_id.hex())
        as_filed = msgspec.structs.replace(
            said, study_instance_uid=held.uid, series_instance_uid=series_uid, sop_instance_uid=sop_uid
        )
        return as_filed, None if known is None else known[0]


def _series(connection: sa.Connection, uid: str) -> tuple[int, int] | None:
    row = connection.execute(
        sa.select(series.c.pk, series.c.study_pk).where(series.c.uid == uid)
    ).one_or_none()
    return None if row is None else (int(row[0]), int(row[1]))


def seal_again(core: Core, row: sa.RowMapping, held: HeldStudy, object_id: bytes) -> dict[str, Any]:
    """The object's columns after it was sealed under the study's key, durably (rule 2). Blocking.

    Raises GuardRefused('unavailable') where what is stored is not what came.
    """
    columns = {column.name: row[column.name] for column in parked.columns if column.name in _COLUMNS}
    location = f"{object_id.hex()[:2]}/{object_id.hex()}.rbc"
    columns |= {
        "object_id": object_id,
        "key_id": held.key_id,
        "epoch": core.keyring.epoch,
        "location": location,
    }
    path = Path(core.objects_root) / location
    try:
        old = core.keyring.key(bytes(row["key_id"]), *owner_of(core, row))
        streams = _plain(core, row, old)
        _check_hash(row, streams)
        make_folder(path.parent, 0o750)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            header, bulk = stream_keys(core, held.key, held.key_id, object_id)
            for stream, name, parts in streams:
                envelope = Envelope(
                    stream, columns["epoch"], core.hospital, held.key_id, object_id, int(row["algorithm"])
                )
                file.write(_sealed(header if stream is Stream.HEADER else bulk, envelope, parts))
                columns[f"{name}_sealed_bytes"] = sealed_size(sum(map(len, parts)))
            columns["file_bytes"] = file.tell()
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except (CryptoError, OSError) as failure:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise GuardRefused("unavailable") from failure
    return columns


_COLUMNS: Final = frozenset(column.name for column in instance.columns) - {"pk"}


def _sealed(key: bytes, envelope: Envelope, parts: list[bytes]) -> bytearray:
    out = bytearray(sealed_size(sum(map(len, parts))))
    seal_into(key, envelope, parts, memoryview(out))
    return out


def _plain(core: Core, row: sa.RowMapping, key: bytes) -> list[tuple[Stream, str, list[bytes]]]:
    """The streams of a parked object. Raises CryptoError, OSError."""
    with (Path(core.objects_root) / str(row["location"])).open("rb") as file:
        opened = open_streams(core, row, key, file.fileno())
        return [(stream, name, list(sealed.segments())) for stream, name, sealed in opened]


def _check_hash(row: sa.RowMapping, streams: list[tuple[Stream, str, list[bytes]]]) -> None:
    """Raises GuardRefused('unavailable') for other bytes than those that came."""
    whole = hashlib.sha256()
    for _, _, parts in streams:
        for part in parts:
            whole.update(part)
    if whole.digest() != bytes(row["file_sha256"]):
        raise GuardRefused("unavailable")


def destroy(core: Core, row: sa.RowMapping) -> None:
    """The key that was the conflict's own, then its file. Blocking. Raises GuardRefused."""
    if owner_of(core, row)[0] == "parked":
        erasure.destroy_keys(core.keyring, [bytes(row["key_id"])])
    erasure.unlink(Path(core.objects_root), [str(row["location"])])


def forget(connection: sa.Connection, row: sa.RowMapping) -> None:
    """The row of a conflict that is one no more."""
    connection.execute(sa.delete(parked).where(parked.c.pk == row["pk"]))


def finish_all(core: Core) -> None:
    """At the start: what was filed and not cleared away (rule 5). Blocking."""
    with core.engine.connect() as connection:
        rows = connection.execute(sa.select(parked).where(parked.c.reason == FILED)).mappings().all()
    for row in rows:
        destroy(core, row)
        with core.engine.begin() as connection:
            forget(connection, row)


def filed_in(
    core: Core, connection: sa.Connection, held: HeldStudy, object_ids: list[bytes]
) -> dict[bytes, Filed]:
    """Those of these objects of one study that were filed. Raises CryptoError for a changed row."""
    query = sa.select(filed).where(filed.c.id.in_(object_ids))
    found = {}
    for row in connection.execute(query).mappings():
        core.rows.check(filed, row)
        found[bytes(row["id"])] = open_filed(held.key, bytes(row["id"]), bytes(row["sealed"]))
    return found
