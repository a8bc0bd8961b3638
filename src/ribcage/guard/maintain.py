"""`verify` from inside: everything recomputed from stored bytes, each difference named (receipt kind `maintain`).

Hashes and verdicts leave, never images. No personal data in a finding: rows by number, objects by id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from ribcage.crypto.errors import CryptoError
from ribcage.database.device_tables import device_fact
from ribcage.database.edge_tables import edge, edge_device
from ribcage.database.research import project, reidentification, release_link
from ribcage.database.schema import (
    break_glass,
    checkpoint,
    destruction,
    device,
    device_charset,
    emergency_mark,
    factor,
    filed,
    identity_change,
    instance,
    invitation,
    ledger_transaction,
    log_leaf,
    log_tile,
    parked,
    patient,
    patient_entry,
    patient_link,
    patient_passkey,
    patient_session,
    person,
    rejected,
    rejection,
    session,
    study,
    study_identity,
)
from ribcage.evidence import merkle
from ribcage.evidence.audit_event import Maintenance
from ribcage.evidence.checkpoint import verify_checkpoint, verify_cosignatures
from ribcage.evidence.entry import Json, canonical, detail, parse
from ribcage.evidence.errors import EvidenceError, WitnessMissing
from ribcage.evidence.leaf import make_leaf
from ribcage.evidence.tiles import TILE_WIDTH, TileBuilder
from ribcage.guard import catalogue, patient_entries
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.log import ABSENT_LEAF
from ribcage.guard.objects import STREAMS, open_streams, owner_of
from ribcage.guard.protocol import Difference, VerifyAnswer, VerifyRequest
from ribcage.ledger.errors import JournalError

_TRIES = 3
TILE = "tile"
_SUSPENSIONS = tuple(canonical(detail("change", word)) for word in ("suspended", "restored"))
_MAC_TABLES = (
    person, factor, session, device, patient, study, destruction, break_glass, emergency_mark,
    invitation, patient_session, patient_passkey, identity_change, study_identity, patient_link, filed,
    rejection, rejected, device_charset, device_fact, project, release_link, reidentification, edge, edge_device,
)  # fmt: skip
_RESOLVED = tuple(canonical(detail("change", word)) for word in ("discarded", "accepted", "attached"))
_STUDY = re.compile(rb'"study":"([0-9a-f]{32})"')
_DESTROYED = re.compile(rb'"system":"urn:ribcage:study","value":"([0-9a-f]{32})"')
_STUDY_DETAIL = re.compile(rb'"type":"study","valueString":"([0-9a-f]{32})"')
_FILED = re.compile(rb'"type":"filed","valueString":"([0-9a-f]{32})"')
_PARKED_ENTRY = re.compile(rb'"type":"parked-entry","valueString":"([0-9]+)"')


@dataclass
class _Promises:
    """What the log says that other tables must hold: a row for each instance, a transaction for each change."""

    instances: dict[int, str] = field(default_factory=dict)  # numbers of entries, and whose study it is
    filed: dict[str, str] = field(default_factory=dict)  # ids of objects, and whose study it is
    changes: int = 1  # the ledger's genesis has no entry

    def add(self, number: int, kind: str, body: bytes) -> None:
        """Count one entry."""
        if kind in ("instance-stored", "instance-parked"):
            study = _STUDY.search(body)
            self.instances[number] = study[1].decode() if study else ""
        elif kind == "study-destroyed":
            self._destroyed(body)
        elif kind == "conflict-resolved" and any(change in body for change in _RESOLVED):
            for number in _PARKED_ENTRY.findall(body):
                self.instances.pop(int(number), None)
            study = _STUDY_DETAIL.search(body)
            self.filed |= {each.decode(): study[1].decode() if study else "" for each in _FILED.findall(body)}
        elif kind in ("grant-changed", "objection-changed", "consent-changed"):
            self.changes += 1
        elif kind in ("person-changed", "device-changed"):
            self.changes += any(change in body for change in _SUSPENSIONS)

    def _destroyed(self, body: bytes) -> None:
        """What a destruction took away is not missing."""
        self.changes += b'"type":"transaction"' in body
        named = _DESTROYED.search(body)
        gone = named[1].decode() if named else ""
        self.instances = {
            number: study for number, study in self.instances.items() if study != gone or not gone
        }
        self.filed = {each: study for each, study in self.filed.items() if study != gone or not gone}
        for number in _PARKED_ENTRY.findall(body):
            self.instances.pop(int(number), None)

    def kept(self, connection: sa.Connection) -> Iterator[Difference]:
        """What is missing: a removed row, a revocation cut from the ledger's end."""
        for table in (instance, parked):
            for (number,) in connection.execute(sa.select(table.c.log_index)):
                self.instances.pop(int(number), None)
        for (identifier,) in connection.execute(sa.select(filed.c.id)):
            self.filed.pop(bytes(identifier).hex(), None)
        for each in sorted(self.filed):
            yield Difference("rows", f"object {each}", "the row of a filed instance", "nothing")
        for number in sorted(self.instances):
            yield Difference("rows", f"log entry {number}", "the row of a stored instance", "nothing")
        query = sa.select(sa.func.count()).select_from(ledger_transaction)
        stored = int(connection.execute(query).scalar_one())
        if stored < self.changes:
            yield Difference("ledger", "tail", f"{self.changes} changes by the log", f"{stored} stored")


class _PatientIndex:
    """The patients' index beside the log, both read in order: each entry that concerns a patient has its row."""

    def __init__(self, connection: sa.Connection) -> None:
        query = sa.select(patient_entry).order_by(patient_entry.c.number)
        self._complete = patient_entries.complete(connection)
        self._rows = iter(connection.execute(query).mappings())
        self._next = next(self._rows, None)

    def check(self, number: int, entry: Json) -> Iterator[Difference]:
        """A patient is shown every entry: none was taken out of the index, or moved."""
        concern = patient_entries.concern_in(entry)
        if concern is None or not self._complete:
            return
        while self._next is not None and self._next["number"] < number:
            self._next = next(self._rows, None)
        where = f"patient_entry {number}"
        if self._next is None or self._next["number"] != number:
            yield Difference("rows", where, "the index of this entry", "nothing")
        elif dict(self._next) != patient_entries.row(number, concern):
            yield Difference("rows", where, "as the entry says", "another row")


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
        """The entry of a finished part; with it tiles that were changed are made again."""
        event = Maintenance(actor.evidence, "verify", part, answer.checked, len(answer.differences))
        broken = any(each.where.startswith(TILE) for each in answer.differences)

        def write(tx: Transaction) -> None:
            if broken:
                self._core.log.remake_tiles(tx.connection)
            tx.append(self._core.entry(event))

        await self._core.committer.run(write)

    # --- the log ----------------------------------------------------------------------------------------

    def _log(self, connection: sa.Connection) -> VerifyAnswer:
        differences, size = list[Difference](), self._core.log.size
        in_memory = self._core.log.tiles_in_memory()
        notes = {int(r.size): bytes(r.note) for r in connection.execute(sa.select(checkpoint))}
        stored = {
            (int(r.level), int(r.number)): bytes(r.hashes) for r in connection.execute(sa.select(log_tile))
        }
        tree, checked, promised = TileBuilder(), 0, _Promises()
        rows = connection.execute(sa.select(log_leaf).order_by(log_leaf.c.number)).mappings()
        index = _PatientIndex(connection)  # the same snapshot: the log's statement is open
        for row in rows:
            number = int(row["number"])
            while tree.size < number:
                differences.append(Difference("log", f"entry {tree.size}", "an entry", "nothing"))
                tree.append(merkle.leaf_hash(ABSENT_LEAF))
            differences += self._leaf(number, bytes(row["leaf_data"]), bytes(row["sealed"]), promised, index)
            tree.append(merkle.leaf_hash(bytes(row["leaf_data"])))
            checked += 1
            if tree.size in notes:
                differences += self._head(notes.pop(tree.size), tree.size, tree.root())
        for signed in sorted(notes):
            found = f"{tree.size} entries"
            differences.append(Difference("log", f"checkpoint {signed}", f"{signed} entries", found))
        if size > tree.size:
            differences.append(Difference("log", "tail", f"{size} entries in memory", f"{tree.size} stored"))
        differences += _tiles(tree, stored, size, in_memory)
        differences += promised.kept(connection)
        return VerifyAnswer(cursor=-1, checked=checked, differences=differences, locations=[])

    def _leaf(
        self, number: int, data: bytes, sealed: bytes, promised: _Promises, index: _PatientIndex
    ) -> Iterator[Difference]:
        try:
            salt, body = self._core.log.open(number, sealed)
            entry = parse(body)
            computed = make_leaf(body, salt)[0]
        except (CryptoError, EvidenceError) as failure:
            yield Difference("log", f"entry {number}", "a sealed entry", type(failure).__name__)
            return
        if computed != data:
            yield Difference("log", f"entry {number}", computed.hex()[:16], data.hex()[:16])
        promised.add(number, _kind(entry), body)
        yield from index.check(number, entry)

    def _head(self, note: bytes, size: int, root: bytes) -> Iterator[Difference]:
        try:
            head = verify_checkpoint(note, self._core.log.epochs.verifier_key(size))
        except EvidenceError as failure:
            yield Difference("log", f"checkpoint {size}", "our signature", type(failure).__name__)
            return
        if (head.size, head.root) != (size, root):
            yield Difference("log", f"checkpoint {size}", head.root.hex()[:16], root.hex()[:16])
        trust = self._core.witness.trust
        if trust is None:
            return
        try:
            verify_cosignatures(note, [trust.key], 1)
        except WitnessMissing:
            pass  # not every checkpoint is cosigned; what the witness saw is its own memory
        except EvidenceError as failure:
            yield Difference(
                "log", f"checkpoint {size}", "the trusted witness's cosignature", type(failure).__name__
            )

    # --- ledger and rows --------------------------------------------------------------------------------

    def _ledger(self, connection: sa.Connection) -> VerifyAnswer:
        differences, ledger = list[Difference](), self._core.ledger
        query = sa.select(ledger_transaction).order_by(ledger_transaction.c.height)
        for _ in range(_TRIES):  # a change may be durable and not yet applied, or the other way round
            before = (ledger.height, ledger.head)
            rows = [(int(r.height), int(r.block_time), bytes(r.raw)) for r in connection.execute(query)]
            try:
                stored = self._core.check_journal(rows)
            except JournalError as failure:
                differences.append(
                    Difference("ledger", f"height {failure.height}", "a valid transaction", "a broken row")
                )
                break
            if stored in (before, (ledger.height, ledger.head)):
                break
        else:
            found = f"height {stored[0]}"
            differences.append(Difference("ledger", "head", f"height {ledger.height}", found))
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
        differences += _rejections(connection)
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
            return self._core.keyring.key(bytes(row["key_id"]), *owner_of(self._core, row))
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
            for _, _, sealed in open_streams(self._core, row, key, file.fileno()):
                for segment in sealed.segments():
                    whole.update(segment)
                    data_set.update(segment[skip:])
                    skip = max(skip - len(segment), 0)
            if path.stat().st_size != sum(int(row[f"{name}_sealed_bytes"]) for _, name in STREAMS):
                raise OSError("a file of another size")
        return whole.digest(), data_set.digest()


def _rejections(connection: sa.Connection) -> Iterator[Difference]:
    """What a note hides is hidden: none of its rows was taken away."""
    query = (
        sa.select(rejection.c.number, rejection.c.state, rejection.c.instances, sa.func.count(rejected.c.id))
        .outerjoin(rejected, rejected.c.note_id == rejection.c.id)
        .group_by(rejection.c.id)
    )
    for number, state, instances, held in connection.execute(query):
        due = 1 + (int(instances) if state == "standing" else 0)
        if held != due:
            yield Difference("rows", f"rejection {number}", f"{due} rows of what it hides", f"{held}")


def _kind(entry: Json) -> str:
    """The kind of a parsed entry (`docs/formats.md` 5.2): compact leaves name it, AuditEvents code it."""
    subtype = entry.get("subtype")
    if isinstance(subtype, list) and subtype and isinstance(subtype[0], dict):
        return str(subtype[0].get("code", ""))
    return str(entry.get("kind", ""))


def _tiles(
    tree: TileBuilder, stored: dict[tuple[int, int], bytes], size: int, in_memory: set[tuple[int, int]]
) -> Iterator[Difference]:
    """Stored tiles are the leaves' own, and each that was complete at `size` is there: proofs are made from them."""
    full, partial = tree.take_full(), tree.partials()
    computed = {(level, number): hashes for level, number, hashes in [*full, *partial]}
    for (level, number), hashes in sorted(stored.items()):
        if not computed.get((level, number), b"").startswith(hashes):
            found = hashlib.sha256(hashes).hexdigest()[:16]
            yield Difference("log", f"{TILE} {level}/{number}", "hashes of its entries", found)
    for level, number, _ in full:
        due = (number + 1) * TILE_WIDTH ** (level + 1) <= size
        if due and (level, number) not in stored.keys() | in_memory:
            yield Difference("log", f"{TILE} {level}/{number}", "hashes of its entries", "nothing")
