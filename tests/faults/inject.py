"""Faults while the archive runs: the small file that `inject.c` reads in each of its processes."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

SOURCE = Path(__file__).with_name("inject.c")
_RULES = 8
_HEAD_BYTES, _RULE_BYTES, _PREFIX_BYTES = 64, 512, 472
_RULE = struct.Struct(f"<IiiiQQQ{_PREFIX_BYTES}s")
_HITS_OFFSET = 32
WITHOUT_END = -1


class Call(IntFlag):
    """Kinds of calls; SYNC is fsync and fdatasync."""

    OPEN = 1
    WRITE = 2
    SYNC = 4
    TRUNCATE = 8
    RENAME = 16
    READ = 32
    ALLOCATE = 64


@dataclass(frozen=True)
class Fault:
    """One rule in force."""

    control: mmap.mmap
    at: int

    @property
    def hits(self) -> int:
        """How often it has struck."""
        (found,) = struct.unpack_from("<Q", self.control, self.at + _HITS_OFFSET)
        return int(found)

    def end(self) -> int:
        """No more of it; how often it has struck."""
        struct.pack_into("<I", self.control, self.at, 0)
        return self.hits


class Faults:
    """The control file of one group of processes. No fault is in force at first."""

    def __init__(self, library: Path, folder: Path) -> None:
        path = folder / "inject-control"
        path.write_bytes(bytes(_HEAD_BYTES + _RULES * _RULE_BYTES))
        with path.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 0)
        self._next = 0
        self.environment = {"LD_PRELOAD": str(library), "INJECT_CONTROL": str(path)}

    def fail(
        self,
        calls: Call,
        prefix: Path | str = "",
        error: int = errno.EIO,
        *,
        times: int = WITHOUT_END,
        process: int = 0,
        delay_seconds: float = 0.0,
        at_least_bytes: int = 0,
    ) -> Fault:
        """These calls fail with `error` (0: they only wait), on paths that begin with `prefix`."""
        at = _HEAD_BYTES + self._next % _RULES * _RULE_BYTES
        if self._control[at : at + 4] != bytes(4):
            raise ValueError("too many faults at once")
        self._next += 1
        name = os.fsencode(prefix)
        if len(name) >= _PREFIX_BYTES:
            raise ValueError("the path prefix is too long")
        delay = int(delay_seconds * 1e6)
        _RULE.pack_into(self._control, at, 0, error, process, times, delay, at_least_bytes, 0, name)
        struct.pack_into("<I", self._control, at, int(calls))  # last: from here on it is in force
        return Fault(self._control, at)

    def step_clock(self, seconds: int) -> None:
        """Wall time is this far from the right one."""
        struct.pack_into("<q", self._control, 0, seconds)

    def clear(self) -> None:
        """No faults, the right time."""
        self._control[:] = bytes(len(self._control))
