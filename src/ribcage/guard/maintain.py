"""`verify` from inside: everything recomputed from stored bytes, each difference named (receipt kind `maintain`).

Hashes and verdicts leave, never images. No personal data in a finding: rows by number, objects by id.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from ribcage.crypto.derive import object_key
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.sealing import Envelope, Sealed, Stream
from ribcage.database.schema import (
    checkpoint,
    device,
    factor,
    instance,
    ledger_transaction,
    log_leaf,
    parked,
    patient,
    person,
    session,
    study,
)
from ribcage.evidence import merkle
from ribcage.evidence.audit_event import Maintenance
from ribcage.evidence.checkpoint import verify_checkpoint
from ribcage.evidence.entry import parse
from ribcage.evidence.errors import EvidenceError
from ribcage.evidence.leaf import make_leaf
from ribcage.guard import catalogue
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import Difference, VerifyAnswer, VerifyRequest
from ribcage.ledger.errors import JournalError

_MAC_TABLES = (person, factor, session, device, patient, study)


class Upkeep:
    """Runs pages of verification on a thread with a connection of its own."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def verify(self, request: VerifyRequest) -> VerifyAnswer:
        """One page. Blocking; call it on a thread."""
        count = min(max(request.count, 1), self._core.limits.verify_page_items)
        with self._core.engine.connect() as connection:
            if request.part == "log":
                return self._log(connection)
            if request.part == "ledger":
                return self._ledger(connection)
            if request.part == "rows":
                return self._rows(connection)
            return self._objects(connection, request.cursor, count)

    async def note(self, actor: Actor, part: str, answer: VerifyAnswer) -> None:
        """The entry of a finished part."""
        event = Maintenance(actor.evidence, "verify", part, answer.checked, len(answer.differences))
        await self._core.committer.run(lambda tx: tx.append(self._core.entry(event)))

    # --- the log ----------------------------------------------------------------------------------------

    def _log(self, connection: sa.Connection) -> VerifyAnswer:
        core, differences = self._core, list[Difference]()
        notes = {int(r.size): bytes(r.note) for r in connection.execute(sa.select(checkpoint))}
        tree, expected, checked = merkle.CompactRange(), 0, 0
        rows = connection.execute(sa.select(log_leaf).order_by(log_leaf.c.number)).mappings()
        for row in rows:
            number = int(row["number"])
            while expected < number:
                differences.append(Difference("log", f"entry {expected}", "an entry", "nothing"))
                tree.append(merkle.leaf_hash(bytes(32)))
                expected += 1
            differences += self._leaf(number, bytes(row["leaf_data"]), bytes(row["sealed"]))
            tree.append(merkle.leaf_hash(bytes(row["leaf_data"])))
            expected, checked = number + 1, checked + 1
            if expected in notes:
                differences += self._head(notes.pop(expected), expected, tree.root())
        for size in sorted(notes):
            differences.append(
                Difference("log", f"checkpoint {size}", f"{size} entries", f"{expected} entries")
            )
        if core.log.size > expected:
            differences.append(
                Difference("log", "tail", f"{core.log.size} entries in memory", f"{expected} stored")
            )
        return VerifyAnswer(cursor=-1, checked=checked, differences=differences, locations=[])

    def _leaf(self, number: int, data: bytes, sealed: bytes) -> Iterator[Difference]:
        try:
            salt, body = self._core.log.open(number, sealed)
            parse(body)
            computed = make_leaf(body, salt)[0]
        except (CryptoError, EvidenceError) as failure:
            yield Difference("log", f"entry {number}", "a sealed entry", type(failure).__name__)
            return
        if computed != data:
            yield Difference("log", f"entry {number}", computed.hex()[:16], data.hex()[:16])

    def _head(self, note: bytes, size: int, root: bytes) -> Iterator[Difference]:
        try:
            head = verify_checkpoint(note, self._core.log.verifier_key)
        except EvidenceError as failure:
            yield Difference("log", f"checkpoint {size}", "our signature", type(failure).__name__)
            return
        if (head.size, head.root) != (size, root):
            yield Difference("log", f"checkpoint {size}", head.root.hex()[:16], root.hex()[:16])

    # --- ledger and rows --------------------------------------------------------------------------------

    def _ledger(self, connection: sa.Connection) -> VerifyAnswer:
        core, differences = self._core, list[Difference]()
        query = sa.select(ledger_transaction).order_by(ledger_transaction.c.height)
        rows = [(int(r.height), int(r.block_time), bytes(r.raw)) for r in connection.execute(query)]
        try:
            height, head = core.check_journal(rows)
            if (height, head) != (core.ledger.height, core.ledger.head):
                found = f"height {height}"
                differences.append(Difference("ledger", "head", f"height {core.ledger.height}", found))
        except JournalError as failure:
            differences.append(
                Difference("ledger", f"height {failure.height}", "a valid transaction", "a broken row")
            )
        return VerifyAnswer(cursor=-1, checked=len(rows), differences=differences, locations=[])

    def _rows(self, connection: sa.Connection) -> VerifyAnswer:
        core, differences, checked = self._core, list[Difference](), 0
        for table in _MAC_TABLES:
            for number, row in enumerate(core.rows.all(connection, table), 1):
                checked += 1
                try:
                    core.rows.check(table, row)
                except CryptoError:
                    where = f"table {table.name}, row {number}"
                    differences.append(Difference("rows", where, "the guard's MAC", "another row"))
        return VerifyAnswer(cursor=-1, checked=checked, differences=differences, locations=[])

    # --- objects ----------------------------------------------------------------------------------------

    def _objects(self, connection: sa.Connection, cursor: int, count: int) -> VerifyAnswer:
        """Instances first (cursor below 2^40), then parked ones."""
        shift = 1 << 40
        differences, locations = list[Difference](), list[str]()
        table = instance if cursor < shift else parked
        after = cursor if cursor < shift else cursor - shift
        query = sa.select(table).where(table.c.pk > after).order_by(table.c.pk).limit(count)
        rows = list(connection.execute(query).mappings())
        for row in rows:
            locations.append(str(row["location"]))
            differences += self._object(connection, table, row)
        if len(rows) == count:
            following = int(rows[-1]["pk"]) + (0 if table is instance else shift)
        else:
            following = shift if table is instance else -1
        return VerifyAnswer(cursor=following, checked=len(rows), differences=differences, locations=locations)

    def _object(self, connection: sa.Connection, table: sa.Table, row: sa.RowMapping) -> Iterator[Difference]:
        where = f"object {bytes(row['object_id']).hex()}"
        yield from self._entry_of(connection, row, where)
        try:
            key = self._key_of(connection, table, row)
            whole, data_set = self._digests(row, key)
        except (CryptoError, GuardRefused, OSError) as failure:
            yield Difference("objects", where, "a sealed object", type(failure).__name__)
            return
        if data_set != bytes(row["data_set_sha256"]):
            yield Difference("objects", where, bytes(row["data_set_sha256"]).hex()[:16], data_set.hex()[:16])
        elif whole != bytes(row["file_sha256"]):
            yield Difference("objects", where, bytes(row["file_sha256"]).hex()[:16], whole.hex()[:16])

    def _entry_of(self, connection: sa.Connection, row: sa.RowMapping, where: str) -> Iterator[Difference]:
        """The index row must be what its log entry says."""
        number = int(row["log_index"])
        sealed = connection.execute(sa.select(log_leaf.c.sealed).where(log_leaf.c.number == number)).scalar()
        if sealed is None:
            yield Difference("rows", where, f"log entry {number}", "nothing")
            return
        try:
            body = self._core.log.open(number, bytes(sealed))[1].decode()
        except CryptoError:
            return  # the log's own pass names this entry
        for wanted in (bytes(row["object_id"]).hex(), bytes(row["data_set_sha256"]).hex()):
            if wanted not in body:
                yield Difference("rows", where, f"as log entry {number} says", wanted[:16])

    def _key_of(self, connection: sa.Connection, table: sa.Table, row: sa.RowMapping) -> bytes:
        if table is parked:
            return self._core.keyring.key(bytes(row["key_id"]), "parked", bytes(row["key_context"]))
        uid = connection.execute(sa.select(study.c.uid).where(study.c.pk == row["study_pk"])).scalar_one()
        held = catalogue.hold(self._core, connection, str(uid))
        if held is None or held.key_id != bytes(row["key_id"]):
            raise GuardRefused("not_found")
        return held.key

    def _digests(self, row: sa.RowMapping, key: bytes) -> tuple[bytes, bytes]:
        """`(SHA-256 of prefix and data set, SHA-256 of the data set)` from the stored file."""
        whole, data_set, skip = hashlib.sha256(), hashlib.sha256(), int(row["prefix_bytes"])
        path = Path(self._core.objects_root) / str(row["location"])
        with path.open("rb") as file:
            start = 0
            for stream, name in ((Stream.HEADER, "header"), (Stream.BULK, "bulk")):
                size = int(row[f"{name}_sealed_bytes"])
                if size:
                    for segment in self._open(file.fileno(), start, size, row, key, stream).segments():
                        whole.update(segment)
                        data_set.update(segment[skip:])
                        skip = max(skip - len(segment), 0)
                start += size
            if path.stat().st_size != start:
                raise OSError("a file of another size")
        return whole.digest(), data_set.digest()

    def _open(
        self, descriptor: int, start: int, size: int, row: sa.RowMapping, key: bytes, stream: Stream
    ) -> Sealed:
        core, key_id, object_id = self._core, bytes(row["key_id"]), bytes(row["object_id"])
        envelope = Envelope(
            stream, int(row["epoch"]), core.hospital, key_id, object_id, int(row["algorithm"])
        )
        opened = object_key(key, hospital=core.hospital, key_id=key_id, object_id=object_id, stream=stream)
        return Sealed(
            lambda offset, length: _pread(descriptor, length, start + offset), size, opened, envelope
        )


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    return os.pread(descriptor, length, offset)
