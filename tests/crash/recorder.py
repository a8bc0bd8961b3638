"""Use `recorder.c`: every file operation of a group of processes below one folder, in one order."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("recorder.c")
_HEAD = struct.Struct("<IIIIQQQII")  # struct record, padded to eight bytes at its end
_HEAD_BYTES = 48
_MAGIC = 0x52434F52
_COUNT_OFFSET = 8


class TraceDamaged(Exception):
    """The trace cannot be read: the recorder's fault."""


@dataclass(frozen=True, slots=True)
class Record:
    """One operation. `position` counts from 1; `first` is offset, size, mode or the position that a sync covers."""

    position: int
    operation: str
    inode: int
    first: int
    names: tuple[str, ...]
    data: bytes
    process: int


class Recorder:
    """One recording: the environment for the processes, and how far the trace has come."""

    def __init__(self, library: Path, root: Path, folder: Path, sync_microseconds: int = 0) -> None:
        self.root = root.resolve()
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.environment = {
            "LD_PRELOAD": str(library),
            "RECORDER_ROOT": str(self.root),
            "RECORDER_TRACE": str(folder),
            "RECORDER_SYNC_MICROSECONDS": str(sync_microseconds),
        }
        self._state: mmap.mmap | None = None

    @property
    def position(self) -> int:
        """Operations recorded so far."""
        if self._state is None:
            with (self.folder / "state").open("rb") as file:
                self._state = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        (count,) = struct.unpack_from("<Q", self._state, _COUNT_OFFSET)
        return int(count)

    def close(self) -> None:
        """Let go of the shared state."""
        if self._state is not None:
            self._state.close()
            self._state = None

    def records(self) -> list[Record]:
        """Every whole record."""
        with (self.folder / "state").open("rb") as file:
            (used,) = struct.unpack("<Q", file.read(8))
        return list(parse((self.folder / "trace").read_bytes()[:used]))


def parse(trace: bytes) -> Iterator[Record]:
    """The records of a trace. Raises TraceDamaged."""
    at, position = 0, 0
    while at < len(trace):
        position += 1
        magic, size, operation, process, inode, first, _, names, data = _HEAD.unpack_from(trace, at)
        if magic != _MAGIC or size != _HEAD_BYTES + names + data or at + size > len(trace):
            raise TraceDamaged(f"record {position} at byte {at} is not whole")
        start = at + _HEAD_BYTES
        yield Record(
            position=position,
            operation=chr(operation),
            inode=inode,
            first=first,
            names=tuple(os.fsdecode(each) for each in trace[start : start + names].split(b"\0") if each),
            data=trace[start + names : start + names + data],
            process=process,
        )
        at += size
