"""Room on the disk: storing stops before the log's own room is touched, and the log keeps a reserve.

Rules, in order:
1. Below the watermark nothing more is stored: peers hear A700 or 507 and keep what they have. Reading goes on.
2. A preallocated file is the log's reserve. It is given up only when a commit fails for lack of room; from then on
   nothing is stored or disclosed, but refusals, endings, revocations and operators' calls still become durable.
3. The reserve is made again by itself when there is room above the watermark.
4. A file system that turned read-only has no room. While commits fail for another reason than room the disk counts as
   closed; the guard's ticker writes until one succeeds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ribcage.guard.errors import GuardRefused

_LOOK_SECONDS = 0.5
_FOLDERS = ("objects", "database", "keys")


class DiskWatch:
    """Free bytes of a home's file systems, and the reserve. Used from the loop and from the committer's thread."""

    def __init__(
        self,
        home: Path,
        stop_bytes: int,
        reserve_bytes: int,
        now: Callable[[], float] = time.monotonic,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        self._folders = [home / name for name in _FOLDERS]
        self._reserve = home / "database" / "reserve"
        self._stop_bytes = stop_bytes
        self._reserve_bytes = reserve_bytes
        self._now = now
        self._free = free or free_bytes
        self._looked_at = -_LOOK_SECONDS
        self._free_bytes = 0
        self._lock = threading.Lock()
        self.exhausted = False  # the reserve was given up
        self.failing = False  # the last commit failed for another reason
        self.look()

    @property
    def free_bytes(self) -> int:
        """The least of the home's file systems, at most half a second old."""
        if self._now() - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = self._now()
            self._free_bytes = min(self._free(folder) for folder in self._folders)
        return self._free_bytes

    def committed(self, taken: bool) -> None:
        """What came of the last commit (rule 4)."""
        self.failing = not taken and not self.exhausted

    @property
    def closed(self) -> bool:
        """For readiness: nothing more is stored, or nothing becomes durable."""
        return self.storing_stopped or self.failing

    @property
    def storing_stopped(self) -> bool:
        """Rule 1."""
        return self.exhausted or self.free_bytes < self._stop_bytes

    def check_may_store(self) -> None:
        """Raises GuardRefused('no_space') below the watermark."""
        if self.storing_stopped:
            raise GuardRefused("no_space")

    def check_may_keep(self) -> None:
        """Raises GuardRefused('no_space') for an object already written, when only the reserve is left (rule 2)."""
        if self.exhausted:
            raise GuardRefused("no_space")

    def check_may_disclose(self) -> None:
        """Raises GuardRefused('unavailable') when only the reserve is left (rule 2)."""
        if self.exhausted:
            raise GuardRefused("unavailable")

    def give_up_reserve(self) -> bool:
        """A commit found no room: free the reserve. True when there was one, so that trying again may help."""
        with self._lock:
            self.exhausted = True
            try:
                if self._reserve.stat().st_size == 0:
                    return False
                os.truncate(self._reserve, 0)
            except OSError:
                return False
            return True

    def look(self) -> bool:
        """Make the reserve (again) when there is room above the watermark; True when the state changed."""
        room = self.free_bytes >= self._stop_bytes + self._reserve_bytes
        with self._lock, contextlib.suppress(OSError):  # the committer may be giving the reserve up meanwhile
            before = self.exhausted
            if room or self._has_reserve():
                self._make()
                self.exhausted = False
        return before != self.exhausted

    def _has_reserve(self) -> bool:
        try:
            return self._reserve.stat().st_blocks * 512 >= self._reserve_bytes
        except OSError:
            return False

    def _make(self) -> None:
        if self._has_reserve():
            return
        descriptor = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._reserve_bytes)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def findings(self) -> list[str]:
        """For `status`."""
        mib = self.free_bytes >> 20
        locked = [folder.name for folder in self._folders if _read_only(folder)]
        if locked:
            return [f"{', '.join(locked)}: the file system is read-only; nothing is stored until it is not"]
        if self.failing:
            return ["the disk does not take what is to be written: nothing is stored or disclosed; mend it"]
        if self.exhausted:
            return [
                f"the disk is full ({mib} MiB left): the log lives on its reserve; nothing is stored or disclosed. "
                "Free room; the reserve is made again by itself"
            ]
        if self.storing_stopped:
            stop = self._stop_bytes >> 20
            return [f"{mib} MiB left, storing stops below {stop} MiB: peers hear A700 and 507; free room"]
        if not self._has_reserve():
            return ["the log has no reserve on the disk: there was no room to make it"]
        return []


def free_bytes(folder: Path) -> int:
    """What may still be written on the folder's file system; 0 where it is read-only or cannot be asked."""
    try:
        facts = os.statvfs(folder)
    except OSError:
        return 0
    return 0 if facts.f_flag & os.ST_RDONLY else facts.f_bavail * facts.f_frsize


def _read_only(folder: Path) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False
