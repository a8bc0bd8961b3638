"""Reading a backup: every byte against the signed manifest, while it is checked or while it is copied back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    read_manifest,
)
from ribcage.evidence.errors import EvidenceError
from ribcage.guard.durable import make_folder, sync_folder
from ribcage.storage.backup_folder import BackupFolder, copy_file, hash_file, read_objects
from ribcage.storage.errors import BackupBroken

_READERS = 4
_BATCH = 1000
Progress = Callable[[int, int], None]  # objects done, bytes read


def open_generation(folder: BackupFolder, number: int, hospital: bytes, keys: list[str]) -> Manifest:
    """The manifest of a generation (0: the newest), signed by one of `keys`.

    Raises BackupBroken: none, forged, another hospital's, or not the one that the next generation names.
    """
    numbers = folder.generations()
    number = number or (numbers[-1] if numbers else 0)
    if number not in numbers:
        raise BackupBroken(f"{folder.root} has no finished generation {number or ''}: it has {numbers}")
    note = folder.manifest(number)
    try:
        manifest = read_manifest(note, keys)
    except EvidenceError as failure:
        raise BackupBroken(f"generation {number}: {failure}") from failure
    if manifest.hospital != hospital or manifest.generation != number:
        raise BackupBroken(f"the manifest of generation {number} belongs to another hospital or generation")
    if number + 1 in numbers:
        with contextlib.suppress(EvidenceError):  # the next one's own check names it
            if read_manifest(folder.manifest(number + 1), keys).previous != manifest_hash(note):
                raise BackupBroken(
                    f"generation {number + 1} does not continue generation {number}: one was exchanged"
                )
    return manifest


def check_files(folder: BackupFolder, manifest: Manifest, progress: Progress) -> None:
    """Every byte of one generation. Raises BackupBroken naming the first file that differs."""
    place = folder.generation(manifest.generation)
    for name in FILES:
        _same(name, _hash(place / name), manifest.files[name])
    for done, octets in _each_object(folder, manifest, _hash):
        progress(done, octets)


def copy_back(folder: BackupFolder, manifest: Manifest, home: Path, progress: Progress) -> None:
    """Copy one generation into a home, checking every byte; what is there already is checked and kept.

    The home's `keys` are not touched. Raises BackupBroken, OSError.
    """
    place, targets = (
        folder.generation(manifest.generation),
        {DATABASE: home / "database" / DATABASE, SETTINGS: home / SETTINGS, FACTS: home / FACTS},
    )
    for name in ("database", "objects", "run"):
        make_folder(home / name)
    _same(OBJECTS, _hash(place / OBJECTS), manifest.files[OBJECTS])
    for name, target in targets.items():
        _same(name, copy_file(place / name, target, 0o600), manifest.files[name])
        sync_folder(target.parent)

    def bring(source: Path) -> FileFacts:
        target = home / "objects" / source.parent.name / source.name
        if target.exists():
            return hash_file(target)
        target.parent.mkdir(mode=0o750, exist_ok=True)  # several threads make it; synced below
        return copy_file(source, target, 0o440)

    for done, octets in _each_object(folder, manifest, bring):
        progress(done, octets)
    for each in (home / "objects", *(home / "objects").iterdir()):
        sync_folder(each)


def _each_object(
    folder: BackupFolder, manifest: Manifest, work: Callable[[Path], FileFacts]
) -> Iterator[tuple[int, int]]:
    """`work` on every object of the list, some at a time. Yields objects and bytes so far."""
    listed = list(read_objects(folder.generation(manifest.generation) / OBJECTS))
    done = octets = 0
    with ThreadPoolExecutor(_READERS, "backup") as pool:
        for start in range(0, len(listed), _BATCH):
            batch = listed[start : start + _BATCH]
            try:
                found = list(pool.map(work, [folder.objects / location for location, _ in batch]))
            except OSError as failure:
                raise BackupBroken(f"an object cannot be read or written: {failure.strerror}") from failure
            for (location, facts), got in zip(batch, found, strict=True):
                _same(location, got, facts)
                done, octets = done + 1, octets + facts.octets
            yield done, octets
    if (done, octets) != (manifest.objects, manifest.octets):
        raise BackupBroken(f"the manifest names {manifest.objects} objects, the list {done}")


def _hash(path: Path) -> FileFacts:
    try:
        return hash_file(path)
    except OSError as failure:
        raise BackupBroken(f"{path.name} is missing or cannot be read: {failure.strerror}") from failure


def _same(name: str, found: FileFacts, named: FileFacts) -> None:
    if found != named:
        raise BackupBroken(
            f"{name} is not what the manifest names ({named.octets} bytes, {named.sha256.hex()[:16]}): use another "
            "generation; a broken object comes back when you delete it and run `ribcage backup` again"
        )
