"""How a worker locks itself in, once and for good, after its imports and before the first foreign byte.

Rules, in order:
1. It ends with its parent, leaves no core file, and no other process of its user may read its memory.
2. Every descriptor is closed but 0, the socket, and 1 and 2, which are /dev/null.
3. Where the system permits it, it has a user, network, mount, IPC and host-name space of its own, without an
   interface, and its root is a folder without a file. This is a second wall: rules 4 to 6 do not depend on it.
4. It has no capability and cannot get one.
5. Memory, files written, descriptors and processes are limited by the kernel. Processor time is limited by the
   parent, anew for each job.
6. System calls are filtered (`cage.seccomp`). Where that is not possible the worker does not start, and nothing
   switches it off.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from typing import Final

from ribcage.cage import seccomp

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_SPACES: Final = 0x10000000 | 0x40000000 | 0x00020000 | 0x08000000 | 0x04000000  # user, net, mount, IPC, UTS
_DESCRIPTORS: Final = 3
_NO_FILES: Final = "/proc/self/fdinfo"


def lock(memory_bytes: int) -> None:
    """Lock this process in, leaving it `memory_bytes` of address space. Raises OSError."""
    if len(os.listdir("/proc/self/task")) != 1:
        raise OSError("expected one thread before the lock, got more: each would need its own filter")
    libc = ctypes.CDLL(None, use_errno=True)
    _must(libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    os.closerange(_DESCRIPTORS, max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], _DESCRIPTORS))
    _separate(libc)
    _must(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
    _drop_capabilities(libc)
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(limit, (value, value))
    seccomp.install()


def _separate(libc: ctypes.CDLL) -> None:
    """Spaces of its own, best effort (rule 3): containers and hardened systems may refuse them."""
    if libc.unshare(_SPACES) == 0:
        with contextlib.suppress(OSError):
            os.chroot(_NO_FILES)
            os.chdir("/")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """No capability in any set (capset(2)); with no_new_privs none comes back."""
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _must(libc.capset(ctypes.byref(head), ctypes.byref(none)), "capset")


def _must(result: int, call: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{call} was refused")
