"""Secrets in memory: no core dumps, no swap where the system allows it, and files that never touch a disk."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
from types import TracebackType

_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def forbid_core_dumps() -> None:
    """No core file, and no other process of this user may attach or read our memory. OSError if refused."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE, 0) was refused")


def lock_memory() -> bool:
    """Keep this process out of swap; best effort. False when the system allows only a few locked bytes.

    Future pages are locked only without a limit: under one, allocations would begin to fail.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    future = _MCL_FUTURE if soft == resource.RLIM_INFINITY else 0
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mlockall(_MCL_CURRENT | future | _MCL_ONFAULT) == 0)


class SecretFile:
    """Bytes behind a path of this process alone (sealed memfd), for APIs that take only file names.

    Use as a context manager; the path dies with it. For `ssl.SSLContext.load_cert_chain`.
    """

    def __init__(self, content: bytes) -> None:
        self._fd = os.memfd_create("ribcage-secret", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.fchmod(self._fd, 0o600)
            view = memoryview(content)
            while view:
                view = view[os.write(self._fd, view) :]
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            self.close()
            raise

    @property
    def path(self) -> str:
        """`/proc/self/fd/N`: opens in this process only."""
        if self._fd < 0:
            raise ValueError("the secret file is closed")
        return f"/proc/self/fd/{self._fd}"

    @property
    def fd(self) -> int:
        """The descriptor, for passing to a child on purpose."""
        if self._fd < 0:
            raise ValueError("the secret file is closed")
        return self._fd

    def close(self) -> None:
        """Give the memory back; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> SecretFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
