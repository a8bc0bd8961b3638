"""Inputs read and outputs written: a file into memory that is used again for the next, large parts without a copy.

Rules, in order:
1. What is decided on is what is written: an input is read once, whole, and never looked at again.
2. Links are not followed. A folder that cannot be listed ends the run; nothing is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from ribcage.dicom.scan import Buffer
from ribcage.usage.deid.errors import NotReleased, Reason
from ribcage.usage.deid.zipped import ZipLimits, members, read_member

_GATHERED: Final = 64 * 1024  # parts below this are joined before they are written
_PIECE: Final = 1024**2  # written at once: more was slower into memory not used lately
_KEPT_ROOM: Final = 64 * 1024**2


def files(source: Path) -> Iterator[tuple[Path, str]]:
    """Each file, and its name below the source. Raises OSError for a folder that cannot be listed."""
    if not source.is_dir():
        source.stat()
        yield source, source.name
        return
    waiting = [(str(source), "")]
    while waiting:
        folder, above = waiting.pop()
        with os.scandir(folder) as listed:
            found = sorted(listed, key=lambda one: one.name)
        for one in found:
            if one.is_file(follow_symlinks=False):
                yield Path(one.path), above + one.name
        folders = [one for one in found if one.is_dir(follow_symlinks=False)]
        waiting += [(one.path, f"{above}{one.name}/") for one in reversed(folders)]


def members_of(path: Path, max_members: int, max_member_bytes: int) -> list[str]:
    """The members of a ZIP file, "" for another file. Raises ArchiveRefused, OSError."""
    if path.suffix.lower() != ".zip":
        return [""]
    return members(path, ZipLimits(max_members=max_members, max_member_bytes=max_member_bytes))


def read(path: Path, member: str, most: int) -> Buffer:
    """The bytes of a file, or of a member when it is a ZIP; those of a file are good until the next one is read.

    Raises NotReleased for more bytes than `most`, OSError and what `zipfile` raises.
    """
    if not member:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise NotReleased(Reason.TOO_LARGE)
            view, filled = _room().take(size), 0
            while filled < size and (got := file.readinto(view[filled:])):
                filled += got
            return view[:filled]
    data = read_member(path, member, most)
    if len(data) > most:
        raise NotReleased(Reason.TOO_LARGE)
    return data


def write(out: Path, name: str, parts: Sequence[Buffer]) -> tuple[int, int]:
    """Write a file below `out`, with the folders it needs; its size and time of change in ns. Raises OSError."""
    path = os.path.join(out, name)
    try:
        file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below, by the with statement
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "wb", buffering=0)  # noqa: SIM115 - the same
    with file:
        for part in _gathered(parts):
            rest = memoryview(part)
            while rest:
                rest = rest[file.write(rest[:_PIECE]) :]
        state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def _gathered(parts: Iterable[Buffer]) -> Iterator[Buffer]:
    """The same bytes in few parts, large ones without a copy."""
    small: list[Buffer] = []
    for part in parts:
        if len(part) >= _GATHERED:
            yield b"".join(small)
            yield part
            small = []
        else:
            small.append(part)
    yield b"".join(small)


class _Room:
    """Memory for one input at a time."""

    def __init__(self) -> None:
        self._kept = memoryview(bytearray())

    def take(self, size: int) -> memoryview:
        """So many bytes; what was taken before is written over."""
        if size > _KEPT_ROOM:
            return memoryview(bytearray(size))
        if size > len(self._kept):
            self._kept = memoryview(bytearray(size + size // 4))
        return self._kept[:size]


@lru_cache(maxsize=1)
def _room() -> _Room:
    return _Room()
