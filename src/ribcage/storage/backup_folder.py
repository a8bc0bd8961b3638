"""A folder of backups: generations with a manifest each, and the sealed objects they share (docs/formats.md 5.9).

    FOLDER/ribcage-backup.json            whose backups these are
    FOLDER/objects/ab/<32 hex>.rbc        sealed files, shared by the generations
    FOLDER/generations/000007/            ribcage.db, home.json, settings.toml, objects.txt, manifest.note

Rules, in order:
1. A generation is made under a name ending in `.part`, its manifest is written last, and then it is renamed. What has
   no manifest under its final name is no backup.
2. A file has its final name only when its bytes are synced; an object is never written again.
3. One program at a time: the folder is locked.
4. Keys are never in it: a folder that holds a key store's copy is refused, and the other way round.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ribcage.evidence.backup_manifest import FileFacts
from ribcage.guard.durable import make_folder, sync_folder, write_file
from ribcage.storage.errors import BackupBroken, BackupRefused

MARKER, KEYS_MARKER = "ribcage-backup.json", "ribcage-keys.json"
MANIFEST = "manifest.note"
_GENERATION = re.compile(r"[0-9]{6}")
_LINE = re.compile(r"([0-9a-f]{2}/[0-9a-f]{32}\.rbc) ([0-9]{1,15}) ([0-9a-f]{64})\n")
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class BackupFolder:
    """Paths and locks of one folder. `marker` names whose and of what kind it is."""

    root: Path
    marker: str = MARKER

    @property
    def objects(self) -> Path:
        """The shared objects."""
        return self.root / "objects"

    def generation(self, number: int) -> Path:
        """The folder of one generation."""
        return self.root / "generations" / f"{number:06d}"

    def generations(self) -> list[int]:
        """Numbers of the finished ones, oldest first."""
        folder = self.root / "generations"
        names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(n) for n in names if _GENERATION.fullmatch(n) and (folder / n / MANIFEST).is_file())

    def manifest(self, number: int) -> bytes:
        """The signed note. Raises BackupBroken."""
        try:
            return (self.generation(number) / MANIFEST).read_bytes()
        except OSError as failure:
            raise BackupBroken(f"generation {number} has no manifest: it is no finished backup") from failure

    def prepare(self, hospital: bytes) -> None:
        """Make the folder, or check that it is this hospital's. Raises BackupRefused, BackupBroken."""
        other = KEYS_MARKER if self.marker == MARKER else MARKER
        for folder in (self.root.resolve(), *self.root.resolve().parents):
            if (folder / other).exists():
                raise BackupRefused("data and keys never lie in one place: choose a folder on another medium")
        if (self.root / other).exists() or any(self.root.glob(f"*/{other}")):
            raise BackupRefused("data and keys never lie in one place: choose a folder on another medium")
        path = self.root / self.marker
        if not path.exists() and self.root.is_dir() and any(self.root.iterdir()):
            raise BackupRefused(f"{self.root} is not empty and no folder of backups: choose another one")
        if path.exists():
            if self.hospital() != hospital:
                raise BackupRefused("these are the backups of another hospital: choose another folder")
            return
        make_folder(self.root)
        write_file(path, json.dumps({"format": 1, "hospital": hospital.hex()}).encode() + b"\n", 0o600)

    def hospital(self) -> bytes:
        """Whose backups these are. Raises BackupBroken."""
        try:
            facts = json.loads((self.root / self.marker).read_text())
            if facts["format"] != 1:
                raise BackupBroken(f"backups of format {facts['format']}, expected 1: use the newer Ribcage")
            return bytes.fromhex(facts["hospital"])
        except FileNotFoundError:
            raise BackupBroken(
                f"{self.root} holds no backups of Ribcage: give the folder of `--to`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as failure:
            raise BackupBroken(
                f"{self.root}/{self.marker} is damaged: restore it from another copy"
            ) from failure

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One program at a time. Raises BackupRefused."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise BackupRefused("another program works on this folder: wait for it") from None
        finally:
            os.close(descriptor)

    def begin(self, number: int) -> Path:
        """A new, empty folder for a generation that is not finished yet."""
        part = self.generation(number).with_suffix(".part")
        for left in part.parent.glob("*.part") if part.parent.is_dir() else ():
            shutil.rmtree(left)
        make_folder(part)
        return part

    def finish(self, number: int, note: bytes) -> None:
        """The manifest, and the final name (rule 1)."""
        part = self.generation(number).with_suffix(".part")
        write_file(part / MANIFEST, note, 0o600)
        part.rename(self.generation(number))
        sync_folder(part.parent)

    def drop(self, number: int) -> None:
        """Remove a generation; its manifest first, so that it is none at once."""
        folder = self.generation(number)
        (folder / MANIFEST).unlink()
        sync_folder(folder)
        shutil.rmtree(folder)


def write_objects(path: Path, listed: dict[str, FileFacts]) -> None:
    """The list of objects, sorted, synced."""
    with path.open("x", encoding="ascii") as file:
        for location, facts in sorted(listed.items()):
            file.write(f"{location} {facts.octets} {facts.sha256.hex()}\n")
        file.flush()
        os.fsync(file.fileno())


def read_objects(path: Path) -> Iterator[tuple[str, FileFacts]]:
    """Lines of a list of objects. Raises BackupBroken."""
    with path.open(encoding="ascii", newline="\n") as file:
        for line in file:
            found = _LINE.fullmatch(line)
            if found is None:
                raise BackupBroken("a list of objects is damaged")
            yield found[1], FileFacts(int(found[2]), bytes.fromhex(found[3]))


def hash_file(path: Path) -> FileFacts:
    """Size and SHA-256 of a file. Raises OSError."""
    digest, octets = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_COPY_BYTES):
            digest.update(piece)
            octets += len(piece)
    return FileFacts(octets, digest.digest())


def copy_file(source: Path, target: Path, mode: int = 0o400) -> FileFacts:
    """Copy under a passing name, sync, then give the final name; what was copied. Raises OSError."""
    fresh = target.with_name(target.name + ".new")
    fresh.unlink(missing_ok=True)
    digest, octets = hashlib.sha256(), 0
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        while piece := reading.read(_COPY_BYTES):
            digest.update(piece)
            octets += len(piece)
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    fresh.rename(target)
    return FileFacts(octets, digest.digest())
