"""The rehearsal of a restore: in a folder that is gone afterwards, with copies of today's keys.

Rules, in order:
1. Live keys, provider and home are read and never written.
2. Sealed objects are opened where they lie in the backup; nothing of them is copied.
3. Everything a restore does to rows is done, except what needs two persons.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ribcage.crypto.errors import KeyStoreFailure
from ribcage.evidence.audit_event import OperatorActor
from ribcage.evidence.backup_manifest import DATABASE, FACTS, Manifest, manifest_hash
from ribcage.guard.core import Core
from ribcage.guard.home import open_core
from ribcage.guard.limits import GuardLimits
from ribcage.guard.log_epochs import load_epochs
from ribcage.guard.maintain import Upkeep
from ribcage.guard.place import read_facts
from ribcage.guard.protocol import Difference, VerifyRequest
from ribcage.guard.restoration import Restoration
from ribcage.guard.restore import begin_home, make_plan, open_keys, put_back_rights
from ribcage.storage.backup_check import Progress, check_files, open_generation
from ribcage.storage.backup_folder import BackupFolder

_PAGE = 500


@dataclass
class Rehearsal:
    """What was found, and how long it took."""

    generation: int
    time_ms: int
    log_epoch: int
    objects: int
    replayed: int = 0
    lost: int = 0
    opened: int = 0
    files_seconds: float = 0.0
    rehearsal_seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)


async def rehearse(
    home: Path, folder: BackupFolder, passphrase: bytes, number: int, sample: int, progress: Progress
) -> Rehearsal:
    """Check every byte of a generation, then restore it into a passing folder and verify that.

    `number` 0: the newest generation; `sample` 0: all objects. Raises BackupBroken, RestoreRefused, CryptoError.
    """
    scratch = Path(tempfile.mkdtemp(prefix="ribcage-rehearsal-"))
    try:
        place = scratch / "home"
        hospital = read_facts(home).hospital
        begin_home(place, home / "keys" / "keystore.db", home / "keys" / "provider.json")
        keyring = open_keys(place, passphrase, hospital)
        try:
            keys = load_epochs(keyring, hospital).verifier_keys
            manifest = open_generation(folder, number, hospital, keys)
            seen = Rehearsal(manifest.generation, manifest.time_ms, manifest.log_epoch, manifest.objects)
            started = time.perf_counter()
            await asyncio.to_thread(check_files, folder, manifest, progress)
            seen.files_seconds = time.perf_counter() - started
            digest = manifest_hash(folder.manifest(manifest.generation))
            make_plan(place, keyring, manifest, digest, rights_lost=False, witness_gone=True)
            _lay_out(place, folder, manifest)
            seen.replayed = put_back_rights(place, keyring)
        finally:
            keyring.close()
        await _verify(place, passphrase, seen, sample)
        seen.rehearsal_seconds = time.perf_counter() - started - seen.files_seconds
        return seen
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _lay_out(place: Path, folder: BackupFolder, manifest: Manifest) -> None:
    """A home whose objects are the backup's own."""
    generation = folder.generation(manifest.generation)
    for name in ("database", "run"):
        (place / name).mkdir(mode=0o700)
    shutil.copy(generation / DATABASE, place / "database" / DATABASE)
    shutil.copy(generation / FACTS, place / FACTS)
    (place / "objects").symlink_to(folder.objects.resolve(), target_is_directory=True)


async def _verify(place: Path, passphrase: bytes, seen: Rehearsal, sample: int) -> None:
    core, _ = await asyncio.to_thread(open_core, place, passphrase, GuardLimits(), restoring=True)
    try:
        if core.ledger_behind:
            raise KeyStoreFailure("; ".join(core.findings))
        restoration = Restoration(core, OperatorActor("rehearsal"))
        await restoration.suspend_again()
        seen.lost = await restoration.forget_lost()
        await asyncio.to_thread(_recompute, core, seen, sample)
    finally:
        core.close()


def _recompute(core: Core, seen: Rehearsal, sample: int) -> None:
    upkeep = Upkeep(core)
    for part in ("log", "ledger", "rows", "objects"):
        cursor, limit = 0, sample if part == "objects" and sample else 0
        while cursor >= 0:
            count = min(_PAGE, limit - seen.opened) if limit else _PAGE
            answer = upkeep.verify(VerifyRequest(part=part, cursor=cursor, count=count))
            seen.differences += answer.differences
            cursor = answer.cursor
            if part == "objects":
                seen.opened += answer.checked
                if limit and seen.opened >= limit:
                    break
