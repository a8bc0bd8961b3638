"""Sealed object files in a local folder, one per instance.

Rules, in order:
1. A location is `ab/<32 hex digits>.rbc`, named by the random object id alone (DESIGN rule 10); any other
   string is `ObjectMissing` and never reaches the file system.
2. A file is created exclusively (`O_EXCL`) and never opened for writing again: nothing is overwritten.
3. `write` returns after the file and its directory entry are fsynced. Data and name go to disk together, so a
   crash leaves either nothing or a file that no index row names; `list_files` finds it.
4. Whatever fails, the file is removed before the error is raised.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ribcage.guard.durable import sync_folder
from ribcage.storage.errors import ObjectExists, ObjectMissing, StorageFailed, StorageFull
from ribcage.storage.ports import Octets

_LOCATION = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{30}\.rbc")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FILE_MODE = 0o440  # committed files are read only, to their writer too


class ObjectFile:
    """One object file open for reading. Use as a context manager; safe from several threads."""

    def __init__(self, descriptor: int, file_bytes: int) -> None:
        self._descriptor = descriptor
        self.file_bytes = file_bytes

    def pread(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file. Raises StorageFailed."""
        pieces: list[bytes] = []
        try:
            while length > 0 and (piece := os.pread(self._descriptor, length, offset)):
                if len(piece) == length and not pieces:
                    return piece
                pieces.append(piece)
                offset += len(piece)
                length -= len(piece)
        except OSError as failure:
            raise StorageFailed(f"an object file cannot be read: {_name(failure)}") from None
        return b"".join(pieces)

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> ObjectFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NewObject:
    """An object file while it is written. A context manager: what was not kept is removed. One thread at a time."""

    def __init__(self, descriptor: int, path: Path, location: str) -> None:
        self._descriptor, self._path, self._location = descriptor, path, location

    def append(self, part: Octets) -> None:
        """Write at the end. Raises StorageFull, StorageFailed; the file is removed."""
        try:
            _write_all(self._descriptor, memoryview(part).cast("B"))
        except OSError as failure:
            self.discard()
            raise _error(failure) from None

    def keep(self) -> str:
        """Fsync file and directory entry; returns the location. Raises StorageFull, StorageFailed."""
        try:
            os.fsync(self._descriptor)
            self._close()
            sync_folder(self._path.parent)
        except OSError as failure:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            raise _error(failure) from None
        return self._location

    def discard(self) -> None:
        """Remove the file; after `keep`, or a second time, nothing happens."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def __enter__(self) -> NewObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


class ObjectStore:
    """The folder of sealed objects. Blocking: call it from threads. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self) -> None:
        """Make the folder and its 256 subfolders, durably. Raises StorageFull, StorageFailed."""
        try:
            self._root.mkdir(mode=0o750, parents=True, exist_ok=True)
            for number in range(256):
                (self._root / f"{number:02x}").mkdir(mode=0o750, exist_ok=True)
            sync_folder(self._root)
        except OSError as failure:
            raise _error(failure) from None

    @staticmethod
    def location(object_id: bytes) -> str:
        """Where the object with this 16-byte id lies, relative to the folder."""
        if len(object_id) != 16:
            raise ValueError(f"an object id has 16 bytes, got {len(object_id)}")
        name = object_id.hex()
        return f"{name[:2]}/{name}.rbc"

    def write(self, object_id: bytes, parts: Sequence[Octets]) -> str:
        """Write and fsync one object; returns its location. Raises ObjectExists, StorageFull, StorageFailed."""
        with self.create(object_id) as file:
            for part in parts:
                file.append(part)
            return file.keep()

    def create(self, object_id: bytes) -> NewObject:
        """A new object, to be written piece by piece. Raises ObjectExists, StorageFull, StorageFailed."""
        location = self.location(object_id)
        path = self._root / location
        try:
            return NewObject(self._create(path), path, location)
        except FileExistsError:
            raise ObjectExists("an object with this id is stored already; it stays as it is") from None
        except OSError as failure:
            raise _error(failure) from None

    def remove_uncommitted(self, location: str) -> None:
        """Remove an object that the guard refused to commit. Never call it for a committed one."""
        with contextlib.suppress(OSError):
            self._path(location).unlink(missing_ok=True)

    def open(self, location: str) -> ObjectFile:
        """Open for reading. Raises ObjectMissing, StorageFailed."""
        try:
            descriptor = os.open(self._path(location), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            return ObjectFile(descriptor, os.fstat(descriptor).st_size)
        except FileNotFoundError:
            raise ObjectMissing(
                "the index names an object file that is not there; run `ribcage verify`"
            ) from None
        except OSError as failure:
            raise _error(failure) from None

    def list_files(self, modified_before: float | None = None) -> Iterator[str]:
        """Every file below the folder, relative to it, in order; with a time (Unix seconds) only older ones.

        A file that the index does not name and that is older than any ingest in flight is a stray.
        """
        for folder in sorted(path for path in self._root.iterdir() if path.is_dir()):
            for path in sorted(folder.iterdir()):
                if modified_before is None or path.lstat().st_mtime < modified_before:
                    yield f"{folder.name}/{path.name}"

    def _path(self, location: str) -> Path:
        if not _LOCATION.fullmatch(location):
            raise ObjectMissing("not the location of an object file")
        return self._root / location

    @staticmethod
    def _create(path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags, _FILE_MODE)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            sync_folder(path.parent.parent)
            return os.open(path, flags, _FILE_MODE)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _error(failure: OSError) -> StorageFull | StorageFailed:
    if failure.errno in _FULL:
        return StorageFull("no space is left for objects; free some or add a disk")
    return StorageFailed(f"the objects folder failed: {_name(failure)}")


def _name(failure: OSError) -> str:
    return errno.errorcode.get(failure.errno or 0, "unknown error")
