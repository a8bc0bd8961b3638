"""The guard's part of a backup: consistent copies of database and key store, and the manifest's signature.

Rules, in order:
1. The database's copy is one state, taken while the guard runs, encrypted under the same key. What it says of log
   and ledger is read from the copy itself.
2. Every object that the copy names was durable before; an object that is gone now was destroyed meanwhile.
3. A manifest is signed only when it says of the copy what the guard saw, and after its entry is durable.
4. The key store's copy holds wraps alone and is marked as a copy; the provider's state is in neither.
5. A copy is written outside the home, to a file that was not there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ribcage.database.schema import checkpoint, instance, ledger_transaction, log_leaf, parked
from ribcage.evidence.audit_event import BackupMade
from ribcage.evidence.backup_manifest import DATABASE, FileFacts, Manifest, parse_manifest, sign_manifest
from ribcage.evidence.errors import EvidenceError
from ribcage.guard import protocol as p
from ribcage.guard.admin import sign_checkpoint
from ribcage.guard.core import Actor, Core
from ribcage.guard.durable import sync_folder
from ribcage.guard.errors import GuardRefused

_REMEMBERED = 4
_PARKED = 1 << 40  # cursors above it are parked objects
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class _Copy:
    """A copy of the database as the guard saw it, and the newest rows it names."""

    made: p.SnapshotMade
    last_instance: int
    last_parked: int


class Backups:
    """Copies for operators."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._home = Path(core.objects_root).parent.resolve()
        self._copies: OrderedDict[bytes, _Copy] = OrderedDict()

    async def snapshot(self, _: Actor, request: p.BackupSnapshot) -> p.SnapshotMade:
        """Copy the database. Raises GuardRefused('invalid' | 'unavailable')."""
        self._check()
        target = self._target(request.path)
        await sign_checkpoint(self._core)
        copy = await asyncio.to_thread(self._copy, target)
        self._copies[copy.made.snapshot] = copy
        while len(self._copies) > _REMEMBERED:
            self._copies.popitem(last=False)
        return copy.made

    def objects(self, request: p.BackupObjects) -> p.BackupObjectsPage:
        """Sealed files that the copy names and that are still there. Raises GuardRefused('not_found')."""
        copy = self._found(request.snapshot)
        count = min(max(request.count, 1), self._core.limits.verify_page_items)
        table, shift, last = instance, 0, copy.last_instance
        if request.cursor >= _PARKED:
            table, shift, last = parked, _PARKED, copy.last_parked
        query = (
            sa.select(table.c.pk, table.c.location, table.c.file_bytes)
            .where(table.c.pk > request.cursor - shift, table.c.pk <= last)
            .order_by(table.c.pk)
            .limit(count)
        )
        with self._core.engine.connect() as connection:
            rows = connection.execute(query).all()
        following = -1 if shift else _PARKED
        if len(rows) == count:
            following = int(rows[-1].pk) + shift
        return p.BackupObjectsPage(following, [(str(row.location), int(row.file_bytes)) for row in rows])

    async def seal(self, actor: Actor, request: p.BackupSeal) -> p.BackupSealed:
        """Sign a manifest. Raises GuardRefused('invalid' | 'not_found')."""
        self._check()
        made, core = self._found(request.snapshot).made, self._core
        try:
            manifest = parse_manifest(request.text)
        except EvidenceError as failure:
            raise GuardRefused("invalid") from failure
        if _said(manifest) != _seen(made):
            raise GuardRefused("invalid")
        event = BackupMade(
            actor.evidence,
            "data",
            hashlib.sha256(request.text.encode()).digest(),
            manifest.log_size,
            manifest.generation,
            manifest.objects,
        )
        await core.note(event)
        del self._copies[request.snapshot]
        return p.BackupSealed(note=sign_manifest(manifest, core.log.signer))

    async def keys(self, actor: Actor, request: p.BackupKeys) -> p.KeysCopied:
        """Copy the key store. Raises GuardRefused('invalid'), KeyStoreFailure."""
        self._check()
        core, target = self._core, self._target(request.path)
        await sign_checkpoint(core)
        await asyncio.to_thread(core.second.copy_to, target, core.clock())
        digest = await asyncio.to_thread(_sha256, target)
        await asyncio.to_thread(sync_folder, target.parent)
        event = BackupMade(actor.evidence, "keys", digest, core.log.size)
        await core.note(event)
        return p.KeysCopied(digest, core.keyring.epoch, core.second.height, core.log.size)

    # --- inside -----------------------------------------------------------------------------------------

    def _check(self) -> None:
        """A copy of a home that is behind its own key store or witness would only spread it."""
        if self._core.ledger_behind:
            raise GuardRefused("unavailable")
        self._core.witness.check_not_behind()

    def _target(self, path: str) -> Path:
        """Rule 5. Raises GuardRefused('invalid')."""
        target = Path(path)
        try:
            folder = target.parent.resolve(strict=True)
        except OSError as failure:
            raise GuardRefused("invalid") from failure
        if not target.is_absolute() or target.exists() or folder.is_relative_to(self._home):
            raise GuardRefused("invalid")
        return folder / target.name

    def _found(self, snapshot: bytes) -> _Copy:
        copy = self._copies.get(snapshot)
        if copy is None:
            raise GuardRefused("not_found")
        return copy

    def _copy(self, target: Path) -> _Copy:
        """Blocking. The copy's facts are read from the copy, which is attached for that under the same key."""
        core, engine = self._core, self._core.engine
        now = core.clock()
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(target),))
            connection.exec_driver_sql("ATTACH DATABASE ? AS made", (str(target),))
            try:
                facts = _facts(connection)
            finally:
                connection.rollback()
                connection.exec_driver_sql("DETACH DATABASE made")
        digest = _sha256(target)
        sync_folder(target.parent)
        made = p.SnapshotMade(
            snapshot=os.urandom(16),
            hospital=core.hospital,
            time_ms=int(now * 1000),
            octets=target.stat().st_size,
            sha256=digest,
            checkpoint=bytes(facts["note"] or b""),
            log_size=int(facts["size"] or 0),
            log_epoch=core.log.epochs.number,
            ledger_height=int(facts["height"] or 0),
            key_epoch=core.keyring.epoch,
        )
        return _Copy(made, int(facts["instances"] or 0), int(facts["parked"] or 0))


def _facts(connection: sa.Connection) -> dict[str, bytes | int | None]:
    """Newest checkpoint, ledger height and row numbers of the attached copy."""
    newest = f"SELECT note, size FROM made.{checkpoint.name} ORDER BY size DESC LIMIT 1"  # noqa: S608 - names from the schema
    row = connection.exec_driver_sql(newest).first()
    found: dict[str, bytes | int | None] = {"note": row[0] if row else None, "size": row[1] if row else None}
    for name, column in (
        ("height", ledger_transaction.c.height),
        ("entries", log_leaf.c.number),
        ("instances", instance.c.pk),
        ("parked", parked.c.pk),
    ):
        query = f"SELECT max({column.name}) FROM made.{column.table.name}"  # noqa: S608 - names from the schema
        found[name] = connection.exec_driver_sql(query).scalar()
    return found


def _said(manifest: Manifest) -> tuple[object, ...]:
    return (
        manifest.hospital,
        manifest.time_ms,
        manifest.checkpoint,
        manifest.log_size,
        manifest.log_epoch,
        manifest.ledger_height,
        manifest.key_epoch,
        manifest.files[DATABASE],
    )


def _seen(made: p.SnapshotMade) -> tuple[object, ...]:
    return (
        made.hospital,
        made.time_ms,
        made.checkpoint,
        made.log_size,
        made.log_epoch,
        made.ledger_height,
        made.key_epoch,
        FileFacts(made.octets, made.sha256),
    )


def _sha256(path: Path) -> bytes:
    """Of a file that is synced with it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return digest.digest()
