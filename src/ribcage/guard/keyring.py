"""The keyring: which key opens what (DESIGN, "Sealing"; `docs/formats.md`, 2).

    provider slot ─ service keys (one each)            context (hospital, "service", name)
    provider slot ─ epoch key                          context (hospital, "epoch", number)
                      └─ patient, study, parked keys   context (hospital, kind, epoch, key id, owner)
                           └─ object keys, by HKDF     (`crypto.derive.object_key`)

Rules, in order:
1. Patient and study keys are random and wrapped by the epoch key directly: no key opens from another's wrap.
2. A key is asked for with its kind and owner context; a wrap moved to another row does not open.
3. New keys are buffered; `flush` makes them durable in one commit, before the database commit naming them.
4. Destroying: wraps are removed, survivors move to a new epoch, the provider destroys the old epoch's slot.
   A crash in between is finished by the next `open`.
5. Called from the guard's loop thread and its committer thread: reads never wait for a commit.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ribcage.crypto import wraps
from ribcage.crypto._encode import KEY_BYTES
from ribcage.crypto.errors import KeyDestroyed, KeyStoreFailure, KeyUnknown
from ribcage.crypto.provider import KeyProvider, SlotDestroyed
from ribcage.guard import _keystore as files

KeyKind = Literal["patient", "study", "parked"]
Keep = Callable[[bytes, KeyKind, bytes], bool]  # key id, kind, owner

SERVICES = (
    "database",
    "blind",
    "rowmac",
    "session",
    "log",
    "ledger-identifiers",
    "ledger-signer",
    "checkpoint",
    "operator",
    "tls",
    "authority",
    "blob",
)
ID_BYTES = 16
_CACHED_KEYS = 8192


@dataclass(frozen=True)
class EpochDestroyed:
    """The end of an epoch: for the certificate of destruction."""

    epoch: int
    new_epoch: int
    survivors: int
    removed: int
    evidence: SlotDestroyed


@dataclass(frozen=True)
class _Held:
    kind: KeyKind
    owner: bytes
    key: bytes = field(repr=False)


class Keyring:
    """All keys of one home. Raises KeyStoreFailure, KeyUnknown, KeyDestroyed, WrapBroken."""

    def __init__(
        self,
        path: Path,
        link: sqlite3.Connection,
        provider: KeyProvider,
        hospital: bytes,
        now: Callable[[], float],
    ) -> None:
        self._provider = provider
        self._hospital = hospital
        self._now = now
        self._write = link
        self._read = files.connect(path)
        self._write_lock = threading.Lock()  # taken first, held during commits
        self._lock = threading.Lock()  # memory state and the read connection; never held during a commit
        self._services: dict[str, bytes] = {}
        self._epoch_keys: dict[int, bytes] = {}
        self._epoch = 0
        self._pending: dict[bytes, _Held] = {}
        self._cache: OrderedDict[bytes, _Held] = OrderedDict()

    @classmethod
    def create(
        cls, path: Path, provider: KeyProvider, hospital: bytes, *, now: Callable[[], float] = time.time
    ) -> Keyring:
        """Make the key store with its service keys and epoch 1 (`hospital`: 16 bytes; the folder exists)."""
        if len(hospital) != ID_BYTES:
            raise ValueError(f"hospital has {ID_BYTES} bytes, got {len(hospital)}")
        link = files.create_file(path, hospital)
        ring = cls(path, link, provider, hospital, now)
        try:
            with ring._write_lock, files.sqlite_failures():
                ring._fill()
            ring._load()
        except BaseException:
            ring.close()
            raise
        return ring

    @classmethod
    def open(
        cls, path: Path, provider: KeyProvider, hospital: bytes, *, now: Callable[[], float] = time.time
    ) -> Keyring:
        """Open an existing key store, finishing a destruction that a crash interrupted (rule 4)."""
        ring = cls(path, files.open_file(path, hospital), provider, hospital, now)
        try:
            ring._load()
            ring._finish_destructions()
        except BaseException:
            ring.close()
            raise
        return ring

    @property
    def epoch(self) -> int:
        """The current epoch's number, 1 or more."""
        return self._epoch

    def service(self, name: str) -> bytes:
        """The 32-byte service key of this name (see SERVICES)."""
        try:
            return self._services[name]
        except KeyError:
            raise KeyUnknown(f"no service key {name!r}; there are {', '.join(SERVICES)}") from None

    def new_key(self, kind: KeyKind, context: bytes) -> tuple[bytes, bytes]:
        """A random key for an owner: (16-byte id, 32-byte key). Durable only after `flush` (rule 3)."""
        key_id = os.urandom(ID_BYTES)
        held = _Held(kind, context, os.urandom(KEY_BYTES))
        with self._lock:
            self._pending[key_id] = held
        return key_id, held.key

    def key(self, key_id: bytes, kind: KeyKind, context: bytes) -> bytes:
        """The key of this id, kind and owner; KeyUnknown for another owner, or KeyDestroyed."""
        with self._lock:
            held = self._pending.get(key_id) or self._cache.get(key_id) or self._fetch(key_id)
            if (held.kind, held.owner) != (kind, context):
                raise KeyUnknown("the key belongs to another owner")
            if key_id not in self._pending:
                self._remember(key_id, held)
            return held.key

    def discard(self, key_ids: Iterable[bytes]) -> None:
        """Forget buffered keys whose admission came to nothing; keys already durable are left alone."""
        with self._lock:
            for key_id in key_ids:
                self._pending.pop(key_id, None)

    def flush(self) -> int:
        """Write every buffered key in one durable commit; returns how many. Safe to call with none."""
        with self._write_lock:
            with self._lock:
                batch = dict(self._pending)
            if not batch:
                return 0
            with files.sqlite_failures(), files.transaction(self._write):
                self._write.executemany(
                    "INSERT INTO wrap VALUES (?, ?, ?, ?, ?)",
                    [
                        (key_id, held.kind, self._epoch, held.owner, self._wrap(key_id, held, self._epoch))
                        for key_id, held in batch.items()
                    ],
                )
            with self._lock:
                for key_id, held in batch.items():
                    if self._pending.pop(key_id, None) is not None:
                        self._remember(key_id, held)
            return len(batch)

    def rebind(
        self, key_id: bytes, kind: KeyKind, context: bytes, new_kind: KeyKind, new_context: bytes
    ) -> None:
        """Give a key another owner, durably; no object is rewritten. It may be repeated, as after a crash."""
        self.flush()
        try:
            self.key(key_id, new_kind, new_context)
        except KeyUnknown:
            self.key(key_id, kind, context)
            self.rebind_all(new_kind, [(key_id, new_context)])

    def rebind_all(self, kind: KeyKind, owners: Sequence[tuple[bytes, bytes]]) -> None:
        """Give keys their owners (`(key id, context)`), whoever had them, in one durable commit."""
        self.flush()
        with self._write_lock:
            with self._lock:
                moved = {key_id: _Held(kind, owner, self._fetch(key_id).key) for key_id, owner in owners}
            with files.sqlite_failures(), files.transaction(self._write):
                for key_id, each in moved.items():
                    wrapped = self._wrap(key_id, each, self._epoch)
                    files.give(self._write, key_id, kind, self._epoch, each.owner, wrapped)
            with self._lock:
                self._cache.update(moved)

    def new_epoch_and_destroy_old(self, keep: Keep) -> EpochDestroyed:
        """Start a new epoch, rewrap keys for which `keep(key_id, kind, context)`, destroy the rest for good.

        Commits wait meanwhile (about 20 µs a key); reads go on. `keep` must not call this keyring.
        """
        self.flush()
        with self._write_lock:
            old, new = self._epoch, self._epoch + 1
            try:
                with files.sqlite_failures(), files.transaction(self._write):
                    self._epoch_keys[new] = self._insert_epoch(new)
                    self._write.execute("UPDATE epoch SET state = 'retiring' WHERE number = ?", (old,))
                    removed, survivors = self._rewrap(keep, new)
            except BaseException:
                self._epoch_keys.pop(new, None)
                raise
            with self._lock:
                self._epoch = new
                for key_id in removed:
                    self._cache.pop(key_id, None)
            evidence = self._destroy_epoch(old)
        return EpochDestroyed(old, new, survivors, len(removed), evidence)

    def is_destroyed(self, key_id: bytes) -> bool:
        """Whether this key was destroyed on purpose and no wrap of it is left."""
        with self._lock:
            return files.is_destroyed(self._read, key_id)

    def end_of(self, key_id: bytes) -> EpochDestroyed:
        """How a destroyed key ended, for its certificate; also after a restart. Raises KeyUnknown.

        The provider is asked to destroy the slot once more, which changes nothing and gives its statement.
        """
        with self._write_lock:
            ended, slot, removed, survivors = files.end_of(self._write, key_id)
        return EpochDestroyed(ended, ended + 1, survivors, removed, self._provider.destroy(slot))

    def store_blob(self, name: str, plaintext: bytes, *more: tuple[str, bytes]) -> None:
        """Keep a small secret file (TLS key, CA key) sealed, replacing the old one; several at once, all or none."""
        key, blobs = self._services["blob"], ((name, plaintext), *more)
        sealed = [(each, wraps.wrap(key, plain, self._bound("blob", each))) for each, plain in blobs]
        with self._write_lock, files.sqlite_failures(), files.transaction(self._write):
            self._write.executemany("INSERT OR REPLACE INTO blob VALUES (?, ?)", sealed)

    def load_blob(self, name: str) -> bytes:
        """What `store_blob` kept under this name; KeyUnknown when there is none."""
        with self._lock, files.sqlite_failures():
            row = self._read.execute("SELECT sealed FROM blob WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise KeyUnknown(f"the key store keeps no file {name!r}")
        return wraps.unwrap(self._services["blob"], row[0], self._bound("blob", name))

    def close(self) -> None:
        """Forget all keys and close the file. Buffered keys that were never flushed are gone."""
        with self._write_lock, self._lock:
            self._services.clear()
            self._epoch_keys.clear()
            self._pending.clear()
            self._cache.clear()
            self._read.close()
            self._write.close()

    # --- inside -----------------------------------------------------------------------------------------

    def _fill(self) -> None:
        slot = self._provider.generate()
        with files.transaction(self._write):
            self._write.execute("INSERT INTO meta VALUES ('service-slot', ?)", (slot.encode(),))
            for name in SERVICES:
                wrapped = self._provider.wrap(slot, os.urandom(KEY_BYTES), self._bound("service", name))
                self._write.execute("INSERT INTO service VALUES (?, ?)", (name, wrapped))
            self._insert_epoch(1)

    def _load(self) -> None:
        with files.sqlite_failures():
            row = self._read.execute("SELECT value FROM meta WHERE name = 'service-slot'").fetchone()
            services = dict(self._read.execute("SELECT name, wrapped FROM service"))
            epochs = self._read.execute(
                "SELECT number, slot, wrapped FROM epoch WHERE state = 'active'"
            ).fetchall()
        if row is None or set(services) != set(SERVICES) or len(epochs) != 1:
            raise KeyStoreFailure("the key store lacks service keys or an epoch: restore its own backup")
        slot = row[0].decode()
        for name, wrapped in services.items():
            self._services[name] = self._provider.unwrap(slot, wrapped, self._bound("service", name))
        number, slot, wrapped = epochs[0]
        self._epoch_keys[number] = self._provider.unwrap(slot, wrapped, self._bound("epoch", number))
        self._epoch = number

    def _remember(self, key_id: bytes, held: _Held) -> None:
        """Put a durable key into the bounded cache; the caller holds `_lock`."""
        self._cache[key_id] = held
        self._cache.move_to_end(key_id)
        while len(self._cache) > _CACHED_KEYS:
            self._cache.popitem(last=False)

    def _fetch(self, key_id: bytes) -> _Held:
        with files.sqlite_failures():
            row = self._read.execute(
                "SELECT kind, epoch, context, wrapped FROM wrap WHERE key_id = ?", (key_id,)
            ).fetchone()
            if row is None:
                gone = self._read.execute("SELECT 1 FROM destroyed WHERE key_id = ?", (key_id,)).fetchone()
                raise KeyDestroyed("the key was destroyed") if gone else KeyUnknown("no such key")
        return self._unwrap(key_id, *row)

    def _rewrap(self, keep: Keep, new: int) -> tuple[list[bytes], int]:
        """Inside a transaction: move survivors into epoch `new`, remove the rest; `(removed, survivors)`."""

        def again(key_id: bytes, kind: KeyKind, epoch: int, owner: bytes, wrapped: bytes) -> bytes:
            return self._wrap(key_id, self._unwrap(key_id, kind, epoch, owner, wrapped), new)

        return files.move_wraps(self._write, keep, again, new, self._now())

    def _destroy_epoch(self, number: int) -> SlotDestroyed:
        """Destroy the slot of a retiring epoch that wraps nothing any more."""
        with files.sqlite_failures():
            files.forget_old_pages(self._write)
            slot = self._write.execute("SELECT slot FROM epoch WHERE number = ?", (number,)).fetchone()[0]
            evidence = self._provider.destroy(slot)
            with files.transaction(self._write):
                self._write.execute(
                    "UPDATE epoch SET state = 'destroyed', wrapped = NULL, destroyed_at = ? WHERE number = ?",
                    (self._now(), number),
                )
            files.forget_old_pages(self._write)
        self._epoch_keys.pop(number, None)
        return evidence

    def _finish_destructions(self) -> None:
        with self._write_lock:
            with files.sqlite_failures():
                rows = self._write.execute("SELECT number FROM epoch WHERE state = 'retiring'").fetchall()
                named = {row[0] for row in self._write.execute("SELECT DISTINCT epoch FROM wrap")}
            for (number,) in rows:
                if number in named:
                    raise KeyStoreFailure("a retiring epoch still wraps keys: the key store was changed")
                self._destroy_epoch(number)

    def _insert_epoch(self, number: int) -> bytes:
        slot = self._provider.generate()
        key = os.urandom(KEY_BYTES)
        wrapped = self._provider.wrap(slot, key, self._bound("epoch", number))
        self._write.execute(
            "INSERT INTO epoch VALUES (?, ?, ?, 'active', ?, NULL)", (number, slot, wrapped, self._now())
        )
        return key

    def _wrap(self, key_id: bytes, held: _Held, epoch: int) -> bytes:
        bound = wraps.context(self._hospital, held.kind, epoch, key_id, held.owner)
        return wraps.wrap(self._epoch_keys[epoch], held.key, bound)

    def _unwrap(self, key_id: bytes, kind: KeyKind, epoch: int, owner: bytes, wrapped: bytes) -> _Held:
        epoch_key = self._epoch_keys.get(epoch)
        if epoch_key is None:
            raise KeyStoreFailure("a wrap names an epoch that this key store does not hold")
        bound = wraps.context(self._hospital, kind, epoch, key_id, owner)
        return _Held(kind, owner, wraps.unwrap(epoch_key, wrapped, bound))

    def _bound(self, *parts: str | int) -> bytes:
        """The context of a wrap that belongs to the home itself."""
        return wraps.context(self._hospital, *parts)
