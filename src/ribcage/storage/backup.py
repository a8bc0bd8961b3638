"""`ribcage backup`: a generation of the data, or a copy of the key store. Files here, facts from the guard.

Rules, in order:
1. The database is copied first, then the objects it names: each was durable before.
2. An object that lies in the folder already with the size and hash of the generation before is not read again. One
   without such a record is compared with the original.
3. A missing original is an error, unless the guard does not name it any more: then it was destroyed meanwhile.
4. Old generations go only when the new one is finished, and objects only when no generation names them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ribcage.evidence.backup_manifest import (
    DATABASE,
    FACTS,
    FILES,
    OBJECTS,
    SETTINGS,
    FileFacts,
    Manifest,
    manifest_hash,
)
from ribcage.guard import protocol as p
from ribcage.guard.durable import make_folder, sync_folder, write_file
from ribcage.storage.backup_folder import (
    KEYS_MARKER,
    BackupFolder,
    copy_file,
    hash_file,
    read_objects,
    write_objects,
)
from ribcage.storage.errors import BackupBroken, BackupRefused
from ribcage.storage.ports import Guard

_PAGE = 1000
_COPIERS = 8  # a copy waits for its sync; they wait together
_KEY_STORE = "keystore.db"
_PLACES = "backups.json"  # in the home
Progress = Callable[[int, int], None]  # objects done, bytes copied


@dataclass
class BackupReport:
    """What was done. `seconds` of the whole."""

    generation: int
    objects: int = 0
    octets: int = 0
    copied: int = 0
    copied_octets: int = 0
    dropped: int = 0
    seconds: float = 0.0
    log_size: int = 0


def check_places(home: Path, *folders: Path | None) -> None:
    """No backup inside the home or around it, none inside another. Raises BackupRefused."""
    places = [each.resolve() for each in (home, *folders) if each is not None]
    for number, one in enumerate(places):
        for other in places[number + 1 :]:
            if one.is_relative_to(other) or other.is_relative_to(one):
                raise BackupRefused(
                    f"{one} and {other} lie in one another: home, data backup and key backup need places of "
                    "their own, best on different media"
                )


async def back_up(
    guard: Guard, home: Path, folder: BackupFolder, hospital: bytes, keep: int, progress: Progress
) -> BackupReport:
    """A new generation; `keep` generations stay. Raises BackupRefused, BackupBroken, GuardRefused, OSError."""
    started = time.perf_counter()
    check_places(home, folder.root)
    folder.prepare(hospital)
    with folder.locked():
        past = folder.generations()
        report = BackupReport((past[-1] if past else 0) + 1)
        part = folder.begin(report.generation)
        database = (part / DATABASE).resolve()
        made = await guard.call(p.BackupSnapshot(str(database)), p.SnapshotMade)
        known = dict(read_objects(folder.generation(past[-1]) / OBJECTS)) if past else {}
        listed = await _objects(
            guard, made.snapshot, _Copier(home / "objects", folder, known, report), progress
        )
        await asyncio.to_thread(write_objects, part / OBJECTS, listed)
        files = {DATABASE: FileFacts(made.octets, made.sha256), OBJECTS: hash_file(part / OBJECTS)}
        for name in (FACTS, SETTINGS):
            files[name] = copy_file(home / name, part / name)
        previous = manifest_hash(folder.manifest(past[-1])) if past else ""
        text = _manifest(made, report, files, previous).text()
        sealed = await guard.call(p.BackupSeal(made.snapshot, text), p.BackupSealed)
        folder.finish(report.generation, sealed.note)
        report.dropped = await asyncio.to_thread(_forget, folder, keep)
    report.log_size, report.seconds = made.log_size, time.perf_counter() - started
    return report


def _manifest(
    made: p.SnapshotMade, report: BackupReport, files: dict[str, FileFacts], previous: str
) -> Manifest:
    return Manifest(
        hospital=made.hospital,
        generation=report.generation,
        time_ms=made.time_ms,
        checkpoint=made.checkpoint,
        log_size=made.log_size,
        log_epoch=made.log_epoch,
        ledger_height=made.ledger_height,
        key_epoch=made.key_epoch,
        objects=report.objects,
        octets=report.octets,
        files={name: files[name] for name in FILES},
        previous=previous,
    )


async def _objects(
    guard: Guard, snapshot: bytes, copier: _Copier, progress: Progress
) -> dict[str, FileFacts]:
    """Copy page by page (rules 2 and 3); the list of what the backup holds."""
    listed: dict[str, FileFacts] = {}
    cursor = 0
    with ThreadPoolExecutor(_COPIERS, "backup") as pool:
        while cursor >= 0:
            ask = p.BackupObjects(snapshot, cursor, _PAGE)
            page = await guard.call(ask, p.BackupObjectsPage)
            try:
                taken = await asyncio.to_thread(copier.take, pool, page.objects)
            except FileNotFoundError:
                again = await guard.call(ask, p.BackupObjectsPage)
                taken = await asyncio.to_thread(copier.take, pool, again.objects)
            listed.update(taken)
            cursor = page.cursor
            progress(copier.report.objects, copier.report.copied_octets)
    await asyncio.to_thread(copier.sync)
    return listed


class _Copier:
    """Brings originals into the folder."""

    def __init__(
        self, source: Path, folder: BackupFolder, known: dict[str, FileFacts], report: BackupReport
    ) -> None:
        self._source = source
        self._target = folder.objects
        self._known = known
        self._touched: set[Path] = set()
        self.report = report

    def take(self, pool: ThreadPoolExecutor, objects: list[tuple[str, int]]) -> dict[str, FileFacts]:
        """One page. Raises FileNotFoundError for an original that is gone, BackupBroken."""
        for location, _ in objects:
            parent = (self._target / location).parent
            if parent not in self._touched:
                make_folder(parent)
                self._touched.add(parent)
        taken = dict(zip((each for each, _ in objects), pool.map(self._one, objects), strict=True))
        for facts, copied in taken.values():
            self.report.objects += 1
            self.report.octets += facts.octets
            self.report.copied += copied
            self.report.copied_octets += facts.octets if copied else 0
        return {location: facts for location, (facts, _) in taken.items()}

    def _one(self, named: tuple[str, int]) -> tuple[FileFacts, bool]:
        location, octets = named
        source, target = self._source / location, self._target / location
        with contextlib.suppress(FileNotFoundError):
            held = target.stat().st_size
            known = self._known.get(location)
            if known is not None and known.octets == octets == held:
                return known, False
            facts = hash_file(source)
            if held == octets and hash_file(target) == facts:
                return facts, False
            target.unlink()
        facts = copy_file(source, target)
        if facts.octets != octets:
            raise BackupBroken(f"object {target.stem} has another size than its row: run `ribcage verify`")
        return facts, True

    def sync(self) -> None:
        """The names of all copies are durable."""
        for folder in self._touched:
            sync_folder(folder)


def _forget(folder: BackupFolder, keep: int) -> int:
    """Rule 4; how many generations went."""
    numbers = folder.generations()
    old = numbers[: max(len(numbers) - max(keep, 1), 0)]
    for number in old:
        folder.drop(number)
    if old:
        named = set[str]()
        for number in folder.generations():
            named.update(location for location, _ in read_objects(folder.generation(number) / OBJECTS))
        for path in folder.objects.glob("*/*"):
            if f"{path.parent.name}/{path.name}" not in named:
                path.unlink()
    return len(old)


async def back_up_keys(
    guard: Guard, home: Path, folder: BackupFolder, hospital: bytes, keep: int
) -> p.KeysCopied:
    """A copy of the key store, `keystore-TIME.db`; `keep` copies stay. Raises BackupRefused, GuardRefused."""
    check_places(home, folder.root)
    folder.prepare(hospital)
    with folder.locked():
        name = time.strftime("keystore-%Y%m%d-%H%M%S", time.gmtime())
        fresh, target = folder.root.resolve() / f"{name}.part", folder.root / f"{name}.db"
        for left in folder.root.glob("keystore-*.part"):
            left.unlink()
        made = await guard.call(p.BackupKeys(str(fresh)), p.KeysCopied)
        fresh.rename(target)
        sync_folder(folder.root)
        for old in sorted(folder.root.glob("keystore-*.db"))[: -max(keep, 1)]:
            old.unlink()
    return made


def note_places(home: Path, **folders: Path) -> list[str]:
    """Remember in `HOME/backups.json` where backups went; findings about the places."""
    held = _places(home)
    for kind, folder in folders.items():
        held[kind] = {
            "folder": str(folder.resolve()),
            "device": folder.stat().st_dev,
            "at": int(time.time()),
        }
    content = json.dumps(held, indent=1, sort_keys=True).encode() + b"\n"
    write_file(home / _PLACES, content, 0o600)
    return list(_findings(home, held))


def remembered_place(home: Path, kind: str) -> Path | None:
    """Where the last backup of this kind ("data", "keys") went, None for never."""
    facts = _places(home).get(kind)
    return Path(str(facts["folder"])) if facts else None


def _places(home: Path) -> dict[str, dict[str, object]]:
    try:
        held = json.loads((home / _PLACES).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def _findings(home: Path, held: dict[str, dict[str, object]]) -> Iterable[str]:
    devices = {kind: facts["device"] for kind, facts in held.items()}
    if "data" in devices and devices["data"] == devices.get("keys"):
        yield "data and keys are backed up to one file system: whoever takes it has both; use different media"
    for kind, device in devices.items():
        if device == home.stat().st_dev:
            yield f"the backup of the {kind} lies on the home's own file system: one broken disk takes both"
    if "keys" not in held:
        yield "the key store was never backed up: without it no backup of the data opens; use --keys-to"


def newest_keys(folder: Path) -> Path:
    """The key store in a keys folder or in a folder of its copies. Raises BackupBroken."""
    if (folder / _KEY_STORE).is_file():
        return folder / _KEY_STORE
    copies = sorted(folder.glob("keystore-*.db"))
    if not copies:
        raise BackupBroken(f"{folder} holds no key store: give HOME/keys or the folder of `--keys-to`")
    return copies[-1]


def keys_folder(root: Path) -> BackupFolder:
    """A folder of key store copies."""
    return BackupFolder(root, KEYS_MARKER)
