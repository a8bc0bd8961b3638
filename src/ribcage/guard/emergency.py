"""The emergency journal: a file of fixed size that takes records when the log cannot (docs/formats.md 9).

Rules, in order (DESIGN rule 5, docs/adr/0010-break-glass.md):
1. The file exists in full before it is needed: a full disk takes nothing away from it.
2. A record is synced before it is counted, and the count is synced before anybody is answered.
3. Each record is sealed under a key of this home and bound to home, slot, number and predecessor: one that was
   edited, removed, moved or put in another order does not open. The count stands in two heads, written in turn.
4. Numbers never start again. A slot is used again only after the log has its record.
5. After a failed write nothing more is written by this process: the kernel may have dropped what it could not write.
6. What cannot be told from a crash is a crash: a torn head beside its record, a torn head while records were handed
   over. Everything else is tampering and reported; what stands before the damage is still handed over.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError
from ribcage.guard.durable import sync_folder, write_file
from ribcage.guard.errors import GuardUnavailable

SLOT_BYTES, SLOTS, HEADS = 1024, 256, 2
RECORDS = SLOTS - HEADS
MOST_PAYLOAD_BYTES = SLOT_BYTES - 29 - 3  # less the seal, version and length
_VERSION = 1
_PLAIN_BYTES = SLOT_BYTES - 29
_HEAD = struct.Struct(">BQQQ32s32s")
_TOP = struct.Struct(">BH")
_START = bytes(32)
_NAME = "emergency.journal"


@dataclass(frozen=True)
class Head:
    """`first`: the oldest record that the log may lack; `following`: the next number; hashes before either."""

    counter: int
    first: int
    following: int
    base: bytes
    last: bytes


def seal_record(
    key: bytes, hospital: bytes, number: int, previous: bytes, payload: bytes, *, _nonce: bytes | None = None
) -> bytes:
    """One record's slot. `previous`: SHA-256 of the slot of the record before, 32 zero bytes for the first."""
    plain = (_TOP.pack(_VERSION, len(payload)) + payload).ljust(_PLAIN_BYTES, b"\0")
    place = _place(hospital, HEADS + number % RECORDS, number, previous)
    return seal_column(key, place, plain, _nonce=_nonce)


def seal_head(key: bytes, hospital: bytes, head: Head, *, _nonce: bytes | None = None) -> bytes:
    """One head's slot, which is its counter's lowest bit."""
    packed = _HEAD.pack(_VERSION, head.counter, head.first, head.following, head.base, head.last)
    place = _place(hospital, head.counter % HEADS)
    return seal_column(key, place, packed.ljust(_PLAIN_BYTES, b"\0"), _nonce=_nonce)


def _place(hospital: bytes, slot: int, number: int = 0, previous: bytes = _START) -> bytes:
    kind = "head" if slot < HEADS else "record"
    return column_context("emergency-journal", kind, hospital + struct.pack(">IQ", slot, number) + previous)


class JournalBroken(Exception):
    """The file is not what this home wrote; `at` is the first record that cannot be believed."""

    def __init__(self, at: int) -> None:
        super().__init__(f"the emergency journal does not hold from record {at} on")
        self.at = at


class EmergencyJournal:
    """Opened once by the guard. Blocking: call `append` and `forget` on a thread."""

    def __init__(
        self, folder: Path, key: bytes, hospital: bytes, submitted: int | None, *, expected: bool
    ) -> None:
        """`submitted`: how many records the log has, None where its mark cannot be believed.

        `expected`: the file was made before and must be there.
        """
        self._folder = folder
        self._path = folder / _NAME
        self._key = key
        self._hospital = hospital
        self._lock = threading.Lock()
        self._failed = False
        self._descriptor = -1
        self._head = Head(0, submitted or 0, submitted or 0, _START, _START)
        self.pending: dict[int, bytes] = {}
        self.broken_at = -1
        try:
            if submitted is None:
                raise JournalBroken(0)
            if not self._path.exists():
                if expected:
                    raise JournalBroken(submitted)
                self._make(submitted)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._read(submitted)
        except JournalBroken as broken:
            self.broken_at = broken.at
        except (OSError, GuardUnavailable):
            self._failed = True

    @property
    def room(self) -> int:
        """Records that still fit; 0 when it cannot be written."""
        if self._failed or self.broken_at >= 0:
            return 0
        return RECORDS - (self._head.following - self._head.first)

    def append(self, payload: bytes) -> int:
        """Make one record durable; its number. Raises GuardUnavailable: then it was not accepted."""
        with self._lock:
            if len(payload) > MOST_PAYLOAD_BYTES or not self.room:
                raise GuardUnavailable("the emergency journal takes no more")
            head = self._head
            slot = seal_record(self._key, self._hospital, head.following, head.last, payload)
            grown = Head(
                head.counter + 1, head.first, head.following + 1, head.base, hashlib.sha256(slot).digest()
            )
            self._write(HEADS + head.following % RECORDS, slot)
            self._write_head(grown)
            self.pending[head.following] = payload
            return head.following

    def forget(self, submitted: int) -> None:
        """The log has every record below this number: their slots are free. Raises GuardUnavailable."""
        with self._lock:
            head = self._head
            if self.broken_at >= 0 or self._failed or submitted <= head.first:
                return
            at = HEADS + (submitted - 1) % RECORDS
            base = hashlib.sha256(os.pread(self._descriptor, SLOT_BYTES, at * SLOT_BYTES)).digest()
            self._write_head(Head(head.counter + 1, submitted, head.following, base, head.last))

    def replace(self, submitted: int) -> None:
        """Put a broken file aside and begin a new one. Raises OSError."""
        with self._lock:
            self.close()
            if os.path.lexists(self._path):
                self._path.rename(self._folder / f"{_NAME}.broken-{time.time_ns()}")
                sync_folder(self._folder)
            self._make(submitted)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            self.pending, self.broken_at, self._failed = {}, -1, False

    def findings(self) -> list[str]:
        """For `status`."""
        found = []
        if self.broken_at >= 0:
            found.append("ALARM: the emergency journal was changed on the disk: no break-glass in a fault")
        if self._failed:
            found.append(
                "the emergency journal cannot be written: no break-glass in a fault; look at the disk"
            )
        if self.pending:
            found.append(
                f"{len(self.pending)} records of break-glass wait in the emergency journal for the log"
            )
        found += [
            f"ALARM: the emergency journal was changed on the disk; look at database/{path.name}, then remove it"
            for path in sorted(self._folder.glob(f"{_NAME}.broken-*"))
        ]
        return found

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # --- slots ------------------------------------------------------------------------------------------

    def _make(self, submitted: int) -> None:
        heads = [Head(counter, submitted, submitted, _START, _START) for counter in range(HEADS)]
        empty = os.urandom(SLOT_BYTES * RECORDS)  # written out, so that the blocks are there
        write_file(
            self._path, b"".join(seal_head(self._key, self._hospital, each) for each in heads) + empty, 0o600
        )
        self._head = heads[-1]

    def _write(self, slot: int, sealed: bytes) -> None:
        try:
            if os.pwrite(self._descriptor, sealed, slot * SLOT_BYTES) != SLOT_BYTES:
                raise OSError("a short write")
            os.fdatasync(self._descriptor)
        except OSError as failure:
            self._failed = True
            raise GuardUnavailable("the emergency journal cannot be written") from failure

    def _write_head(self, head: Head) -> None:
        self._write(head.counter % HEADS, seal_head(self._key, self._hospital, head))
        self._head = head

    # --- at the start -----------------------------------------------------------------------------------

    def _read(self, submitted: int) -> None:
        """Check the chain and collect what the log may lack. Raises JournalBroken, OSError."""
        content = os.pread(self._descriptor, SLOT_BYTES * SLOTS + 1, 0)
        if len(content) != SLOT_BYTES * SLOTS:
            raise JournalBroken(submitted)
        slots = [content[at : at + SLOT_BYTES] for at in range(0, len(content), SLOT_BYTES)]
        heads = [head for slot in range(HEADS) if (head := self._open_head(slot, slots[slot])) is not None]
        if not heads:
            raise JournalBroken(submitted)
        head = max(heads, key=lambda each: each.counter)
        previous = head.base
        for number in range(head.first, head.following):
            previous = self._take(number, previous, slots, submitted)
        if previous != head.last:
            raise JournalBroken(head.following)
        self._head = head
        uncounted = self._open_record(head.following, head.last, slots)
        if len(heads) < HEADS and uncounted is None and head.first >= submitted:
            raise JournalBroken(head.following)  # rule 6: no crash leaves one head alone
        following, last = head.following, head.last
        if uncounted is not None:
            last = self._take(following, last, slots, submitted)
            following += 1
        if not head.first <= submitted <= following:
            raise JournalBroken(submitted)
        if uncounted is not None or len(heads) < HEADS:  # mended: a crash meanwhile leaves what was there
            self._write_head(Head(head.counter + 1, head.first, following, head.base, last))

    def _take(self, number: int, previous: bytes, slots: list[bytes], submitted: int) -> bytes:
        payload = self._open_record(number, previous, slots)
        if payload is None:
            raise JournalBroken(number)
        if number >= submitted:
            self.pending[number] = payload
        return hashlib.sha256(slots[HEADS + number % RECORDS]).digest()

    def _open_record(self, number: int, previous: bytes, slots: list[bytes]) -> bytes | None:
        slot = HEADS + number % RECORDS
        try:
            plain = open_column(self._key, _place(self._hospital, slot, number, previous), slots[slot])
        except CryptoError:
            return None
        version, length = _TOP.unpack_from(plain)
        return plain[_TOP.size : _TOP.size + length] if version == _VERSION else None

    def _open_head(self, slot: int, sealed: bytes) -> Head | None:
        try:
            plain = open_column(self._key, _place(self._hospital, slot), sealed)
        except CryptoError:
            return None
        version, *rest = _HEAD.unpack_from(plain)
        return Head(*rest) if version == _VERSION else None
