"""What was fetched from the old PACS, while it leaves: sealed in memory under a key of its own, never on the disk.

Rules, in order (DESIGN rule 8):
1. An object lives `_KEEP_SECONDS` from its last opening; it is anonymous memory of this process, and ends with it.
2. At most `most_bytes` are held; what does not fit is refused (`StorageFull`), and nothing that is in use gives way.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ribcage.storage.errors import ObjectMissing, StorageFailed, StorageFull
from ribcage.storage.objects import ObjectFile, ObjectStore
from ribcage.storage.ports import Octets

_KEEP_SECONDS = 60.0


@dataclass
class _Held:
    descriptor: int
    file_bytes: int
    until: float


class MemoryObjects(ObjectStore):
    """Implements what the doors use of `ObjectStore`. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(Path(os.devnull))
        self._most_bytes = most_bytes
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def write(self, object_id: bytes, parts: Sequence[Octets]) -> str:
        """Keep one object. Raises StorageFull, StorageFailed."""
        location, octets = self.location(object_id), sum(memoryview(part).nbytes for part in parts)
        with self._lock:
            self._forget_old()
            held = sum(each.file_bytes for each in self._held.values())
            if self._held and held + octets > self._most_bytes:
                raise StorageFull("too many images are on their way out at once; try again")
            try:
                descriptor = os.memfd_create("ribcage-shield", os.MFD_CLOEXEC)
            except OSError:
                raise StorageFailed("there is no memory for an image on its way out") from None
            self._drop(location)
            self._held[location] = _Held(descriptor, octets, time.monotonic() + _KEEP_SECONDS)
        try:
            for part in parts:
                view = memoryview(part).cast("B")
                while view:
                    view = view[os.write(descriptor, view) :]
        except OSError:
            raise StorageFailed("there is no memory for an image on its way out") from None
        return location

    def open(self, location: str) -> ObjectFile:
        """Open for reading. Raises ObjectMissing, StorageFailed."""
        with self._lock:
            held = self._held.get(location)
            if held is None:
                raise ObjectMissing("the image on its way out is no longer kept; ask again")
            held.until = time.monotonic() + _KEEP_SECONDS
            try:
                return ObjectFile(os.dup(held.descriptor), held.file_bytes)
            except OSError:
                raise StorageFailed("there is no descriptor for an image on its way out") from None

    def holds(self, location: str) -> bool:
        """Whether it is there, and for a while longer."""
        with self._lock:
            held = self._held.get(location)
            if held is None or held.until <= time.monotonic():
                return False
            held.until = time.monotonic() + _KEEP_SECONDS
            return True

    def remove_uncommitted(self, location: str) -> None:
        """Forget it."""
        with self._lock:
            self._drop(location)

    def _forget_old(self) -> None:
        now = time.monotonic()
        for location in [name for name, each in self._held.items() if each.until <= now]:
            self._drop(location)

    def _drop(self, location: str) -> None:
        held = self._held.pop(location, None)
        if held is not None:
            os.close(held.descriptor)
