"""What waits for the archive: one file a film, sealed and signed, in order; and what the archive answered.

Rules, in order (docs/formats.md, 12):
1. A film is complete when its front is written: bytes synced, front synced, name given, folder synced. Only then is
   the modality told. What is not complete is thrown away at the next start; nobody was told of it.
2. Numbers are given when a film is complete, without gaps, never twice: they go on from the newest receipt or file.
3. The key of a film is sealed to the archive and forgotten: this edge cannot open what waits.
4. A film goes when the receipt for it is durable. A film that the archive refused for good is kept apart.
5. File names are numbers. Nothing on the disk names a patient, an instance or an AE title; `tag` is keyed.
6. The spool is bounded in bytes, and leaves the disk some: beyond, nothing is begun.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ribcage.crypto import hybrid
from ribcage.crypto.sealing import SEGMENT_BYTES, TAG_BYTES, Envelope, Sealer, Stream
from ribcage.crypto.signing import Signer
from ribcage.evidence.edge_entry import FRONT_BYTES, EntryContext, EntryFront, EntryHeader, key_info
from ribcage.evidence.edge_receipt import EdgeReceipt
from ribcage.evidence.errors import EdgeEntryRefused
from ribcage.guard.durable import sync_folder
from ribcage.transfer.edge.errors import EdgeHomeUnusable, SpoolFull
from ribcage.transfer.edge.limits import EdgeLimits

_NAME = re.compile(r"([0-9a-f]{16})\.entry")
_ID_BYTES = 16
_BUSY_SECONDS = 5.0
_TABLES = """
CREATE TABLE IF NOT EXISTS receipt (
  sequence INTEGER PRIMARY KEY, tag BLOB NOT NULL, outcome TEXT NOT NULL, at INTEGER NOT NULL, note BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS receipt_tag ON receipt (tag);
"""


@dataclass(frozen=True)
class SpoolKeys:
    """Whose films these are, and to whom they are sealed."""

    edge: bytes
    hospital: bytes
    seal_key: bytes
    signer: Signer
    tag_key: bytes

    def tag(self, device: bytes, sop_class: str, sop_instance: str) -> bytes:
        """This edge's word for an instance of a modality (rule 5)."""
        told = device + sop_class.encode() + b"\0" + sop_instance.encode()
        return hmac.digest(self.tag_key, told, "sha256")[:_ID_BYTES]


@dataclass(frozen=True)
class Waiting:
    """A complete film on the disk."""

    path: Path
    front: EntryFront
    file_bytes: int


@dataclass(frozen=True)
class Depth:
    """What waits: films, bytes, age of the oldest in seconds; what was refused for good; fronts that are damaged."""

    waiting: int
    waiting_bytes: int
    oldest_seconds: float
    refused: int
    damaged: int


class Spool:
    """The folder of one edge. Usable from any thread. Raises EdgeHomeUnusable, SpoolFull, OSError."""

    def __init__(
        self, folder: Path, keys: SpoolKeys, limits: EdgeLimits, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._refused = folder / "spool", folder / "refused"
        self._keys, self._limits, self._clock = keys, limits, clock
        self._lock = threading.Lock()
        self._waiting: dict[int, Waiting] = {}
        self._known: set[tuple[bytes, bytes]] = set()
        self._tags: Counter[bytes] = Counter()
        self._waiting_bytes = 0
        self._damaged = 0
        self._growing_bytes = 0
        try:
            self._receipts = sqlite3.connect(
                folder / "receipts.db", timeout=_BUSY_SECONDS, check_same_thread=False
            )
            self._receipts.execute("PRAGMA journal_mode = WAL")
            self._receipts.execute("PRAGMA synchronous = FULL")
            self._receipts.executescript(_TABLES)
            self._load()
        except (OSError, sqlite3.Error) as failure:
            raise EdgeHomeUnusable(f"the spool cannot be read: {type(failure).__name__}") from failure

    def close(self) -> None:
        """Close the receipts."""
        with self._lock:
            self._receipts.close()

    def _load(self) -> None:
        """Rules 1, 2 and 4 after a start."""
        newest = self._receipts.execute("SELECT coalesce(max(sequence), 0) FROM receipt").fetchone()[0]
        self._next = int(newest) + 1
        for path in sorted(self._folder.iterdir()):
            found = _NAME.fullmatch(path.name)
            if found is None:
                path.unlink()  # it was not complete
                continue
            sequence = int(found[1], 16)
            self._next = max(self._next, sequence + 1)
            if sequence <= newest:
                self._put_away(path, self._outcome(sequence))
                continue
            with path.open("rb") as file:
                front = file.read(FRONT_BYTES)
            try:
                self._keep(Waiting(path, EntryFront.parse(front), path.stat().st_size))
            except EdgeEntryRefused:
                self._damaged += 1
        sync_folder(self._folder)

    # --- the modality's side ----------------------------------------------------------------------------

    def begin(self, device: bytes, context: EntryContext) -> GrowingEntry:
        """A film begins to arrive. Raises SpoolFull, OSError."""
        self.check_room(0)
        return GrowingEntry(self, self._keys, device, context, self._folder / f"{os.urandom(8).hex()}.part")

    def check_room(self, more_bytes: int) -> None:
        """Rule 6, with `more_bytes` of a film that grows. Raises SpoolFull, OSError."""
        with self._lock:
            self._growing_bytes += more_bytes
            held = self._waiting_bytes + self._growing_bytes
        disk = os.statvfs(self._folder)
        if held > self._limits.max_spool_bytes or disk.f_bavail * disk.f_frsize < self._limits.min_free_bytes:
            raise SpoolFull(
                "the spool is full: the archive was not reached for too long, or the disk is small"
            )

    def forget_room(self, grown_bytes: int) -> None:
        """A film stopped growing."""
        with self._lock:
            self._growing_bytes -= grown_bytes

    def holds(self, tag: bytes, data_set_sha256: bytes) -> bool:
        """Whether this very film waits already."""
        return (tag, data_set_sha256) in self._known

    def complete(self, part: Path, descriptor: int, made: Callable[[int, int], EntryFront]) -> int:
        """Give a film its number and name (rules 1 and 2); the number. `made(sequence, taken_ms)` is its front."""
        with self._lock:
            sequence = self._next
            front = made(sequence, int(self._clock() * 1000))
            os.pwrite(descriptor, front.encode(), 0)
            os.fsync(descriptor)
            path = self._folder / f"{sequence:016x}.entry"
            part.rename(path)
            self._next += 1
            sync_folder(self._folder)
            self._keep(Waiting(path, front, os.fstat(descriptor).st_size))
        return sequence

    # --- the archive's side -----------------------------------------------------------------------------

    def oldest(self) -> Waiting | None:
        """The film whose turn it is."""
        with self._lock:
            return next(iter(self._waiting.values()), None)

    def settle(self, one: Waiting, receipt: EdgeReceipt, note: bytes) -> None:
        """The archive answered, and its receipt was verified (rule 4)."""
        header = one.front.header
        row = (header.sequence, header.tag, receipt.outcome, receipt.time_ms, note)
        with self._lock:
            with self._receipts:
                self._receipts.execute("INSERT OR REPLACE INTO receipt VALUES (?, ?, ?, ?, ?)", row)
                self._receipts.execute(
                    "DELETE FROM receipt WHERE sequence <= ?", (header.sequence - self._limits.max_receipts,)
                )
            self._put_away(one.path, receipt.outcome)
            if self._waiting.pop(header.sequence, None) is not None:
                self._known.discard((header.tag, header.data_set_sha256))
                self._tags[header.tag] -= 1
                self._waiting_bytes -= one.file_bytes

    def state_of(self, tag: bytes) -> str:
        """`taken`, `refused`, `waiting` or `unknown`."""
        with self._lock:
            if self._tags[tag] > 0:
                return "waiting"
            query = "SELECT outcome FROM receipt WHERE tag = ? ORDER BY sequence DESC LIMIT 1"
            row = self._receipts.execute(query, (tag,)).fetchone()
        return "unknown" if row is None else str(row[0])

    def depth(self) -> Depth:
        """What waits now."""
        with self._lock:
            first = next(iter(self._waiting.values()), None)
            count, octets, damaged = len(self._waiting), self._waiting_bytes, self._damaged
        age = 0.0 if first is None else max(self._clock() - first.front.header.taken_ms / 1000, 0.0)
        return Depth(count, octets, age, sum(1 for _ in self._refused.iterdir()), damaged)

    # --- inside -----------------------------------------------------------------------------------------

    def _keep(self, one: Waiting) -> None:
        header = one.front.header
        self._waiting[header.sequence] = one
        self._known.add((header.tag, header.data_set_sha256))
        self._tags[header.tag] += 1
        self._waiting_bytes += one.file_bytes

    def _put_away(self, path: Path, outcome: str) -> None:
        if outcome == "refused":
            path.rename(self._refused / path.name)
            sync_folder(self._refused)
        else:
            path.unlink(missing_ok=True)

    def _outcome(self, sequence: int) -> str:
        row = self._receipts.execute("SELECT outcome FROM receipt WHERE sequence = ?", (sequence,)).fetchone()
        return "taken" if row is None else str(row[0])


def read_receipts(folder: Path) -> list[tuple[int, bytes]]:
    """Every receipt that is kept in this home, by number, beside a running edge too. Raises EdgeHomeUnusable."""
    path = folder / "receipts.db"
    try:
        if not path.is_file():
            raise EdgeHomeUnusable(f"{folder} has no receipts: this is no edge's home, or it never ran")
        link = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            rows = link.execute("SELECT sequence, note FROM receipt ORDER BY sequence").fetchall()
        finally:
            link.close()
    except sqlite3.Error as failure:
        raise EdgeHomeUnusable(f"the receipts cannot be read: {type(failure).__name__}") from failure
    return [(int(sequence), bytes(note)) for sequence, note in rows]


class GrowingEntry:
    """A film while it arrives: sealed and written segment by segment. `finish` or `discard` it."""

    def __init__(
        self, spool: Spool, keys: SpoolKeys, device: bytes, context: EntryContext, path: Path
    ) -> None:
        self._spool, self._keys, self._device, self._path = spool, keys, device, path
        self._tag = keys.tag(device, context.sop_class, context.sop_instance)
        self._object_id = os.urandom(_ID_BYTES)
        self._archive_key = hybrid.key_id(keys.seal_key)
        self._key = os.urandom(32)
        envelope = Envelope(Stream.OTHER, 0, keys.hospital, self._archive_key, self._object_id)
        self._sealer = Sealer(self._key, envelope)
        self._plain = bytearray(context.encode())
        self._sealed = hashlib.sha256(self._sealer.head)
        self._data_set = hashlib.sha256()
        self._out = bytearray(SEGMENT_BYTES + TAG_BYTES)
        self._grown = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        try:
            self._write(bytes(FRONT_BYTES) + self._sealer.head)
        except BaseException:
            self.discard()
            raise

    def add(self, view: memoryview) -> None:
        """The next bytes of the data set. Raises SpoolFull, OSError."""
        self._data_set.update(view)
        while view:
            room = self._sealer.room - len(self._plain)
            if not room:
                self._seal(last=False)
                continue
            self._plain += view[:room]
            view = view[room:]

    def finish(self) -> bytes:
        """All of it came: durable when this returns; the SHA-256 of the data set. Raises SpoolFull, OSError."""
        try:
            self._seal(last=True)
            data_set = self._data_set.digest()
            if self._spool.holds(self._tag, data_set):
                return data_set  # sent again while it waits
            os.fsync(self._descriptor)
            self._spool.complete(self._path, self._descriptor, self._front)
            return data_set
        finally:
            self.discard()

    def discard(self) -> None:
        """Let go: what was not completed is removed."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        self._path.unlink(missing_ok=True)
        self._spool.forget_room(self._grown)

    def _front(self, sequence: int, taken_ms: int) -> EntryFront:
        header = EntryHeader(
            self._keys.edge,
            self._device,
            self._archive_key,
            self._object_id,
            self._tag,
            sequence,
            taken_ms,
            self._sealer.sealed_bytes,
            self._data_set.digest(),
            self._sealed.digest(),
        )
        wrapped = hybrid.seal_key(self._keys.seal_key, self._key, key_info(header))
        return EntryFront.sign(header, wrapped, self._keys.signer)

    def _seal(self, *, last: bool) -> None:
        written = self._sealer.seal(bytes(self._plain), memoryview(self._out), last=last)
        self._plain.clear()
        piece = bytes(memoryview(self._out)[:written])
        self._sealed.update(piece)
        self._write(piece)

    def _write(self, data: bytes) -> None:
        self._grown += len(data)
        self._spool.check_room(len(data))
        written = 0
        while written < len(data):
            written += os.write(self._descriptor, memoryview(data)[written:])
