"""The system calls of a caged worker: a seccomp-BPF allow-list, assembled here (seccomp(2), Linux 3.5 and later).

Rules, in order:
1. Another architecture than the filter was made for, or the x32 numbers of x86-64, end the process.
2. `mmap` and `mprotect` that ask for executable memory fail with EPERM: no new code after the lock.
3. The calls of the list pass: memory, reading and writing open descriptors, clocks, signals of its own, the end.
4. Everything else fails with EPERM: no socket, no file, no process, no other process's memory, no new rights.

The list holds no call that makes a descriptor, so that a worker has for ever the one it was started with.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from struct import pack
from typing import Final

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _THIRD_ARGUMENT = 0, 4, 32  # offsets in struct seccomp_data (little endian)
_PROT_EXEC: Final = 4
_X32_BIT: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class Calls:
    """The numbers of one architecture: `allowed` without condition, `mapping` without executable memory."""

    audit_arch: int
    allowed: dict[str, int]
    mapping: dict[str, int]


_X86_64 = Calls(
    audit_arch=0xC000003E,
    allowed={
        "read": 0,
        "write": 1,
        "close": 3,
        "fstat": 5,
        "poll": 7,
        "lseek": 8,
        "munmap": 11,
        "brk": 12,
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "readv": 19,
        "sched_yield": 24,
        "mremap": 25,
        "madvise": 28,
        "nanosleep": 35,
        "getpid": 39,
        "exit": 60,
        "gettimeofday": 96,
        "sigaltstack": 131,
        "gettid": 186,
        "futex": 202,
        "restart_syscall": 219,
        "clock_gettime": 228,
        "clock_getres": 229,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "getrandom": 318,
    },
    mapping={"mmap": 9, "mprotect": 10},
)
_AARCH64 = Calls(
    audit_arch=0xC00000B7,
    allowed={
        "close": 57,
        "lseek": 62,
        "read": 63,
        "write": 64,
        "readv": 65,
        "ppoll": 73,
        "fstat": 80,
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "nanosleep": 101,
        "clock_gettime": 113,
        "clock_getres": 114,
        "clock_nanosleep": 115,
        "sched_yield": 124,
        "restart_syscall": 128,
        "sigaltstack": 132,
        "rt_sigaction": 134,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "gettimeofday": 169,
        "getpid": 172,
        "gettid": 178,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "madvise": 233,
        "getrandom": 278,
    },
    mapping={"mmap": 222, "mprotect": 226},
)
ARCHITECTURES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def assemble(calls: Calls) -> bytes:
    """The filter as classic BPF. Every jump is over one instruction, so that it can be read from top to bottom."""
    program = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, calls.audit_arch, skip_if_true=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if calls is _X86_64:
        program += [_step(_AT_LEAST, _X32_BIT, skip_if_false=1), _step(_RETURN, _KILL)]
    for number in calls.allowed.values():
        program += [_step(_EQUAL, number, skip_if_false=1), _step(_RETURN, _ALLOW)]
    for number in calls.mapping.values():
        program += [
            _step(_EQUAL, number, skip_if_false=4),
            _step(_LOAD, _THIRD_ARGUMENT),
            _step(_ANY_BIT, _PROT_EXEC, skip_if_false=1),
            _step(_RETURN, _EPERM),
            _step(_RETURN, _ALLOW),
        ]
    program.append(_step(_RETURN, _EPERM))
    return b"".join(program)


def _step(code: int, value: int, skip_if_true: int = 0, skip_if_false: int = 0) -> bytes:
    """One struct sock_filter."""
    return pack("<HBBI", code, skip_if_true, skip_if_false, value)


def install() -> None:
    """Filter this process from now on. Raises OSError where the system or the architecture does not allow it."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise OSError(f"expected one of {', '.join(ARCHITECTURES)}, got {machine}: no filter of system calls")
    code = assemble(ARCHITECTURES[machine])
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) was refused")
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP) was refused: no filter of system calls")
