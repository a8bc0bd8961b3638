"""A caged worker whose jobs are attacks: what a codec could try that hostile pixels have taken over.

Run as `python -I planted_worker.py MODE`. `locked` is the lock of the product; `open` has none (the control);
`unfiltered` is the lock without its filter of system calls; `refused` is a system that allows no filter.
A job's transfer syntax names the attack, its header is the argument. An attack that gets through is answered with
`invalid`, one that is held with `failed`.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable

from ribcage.cage import seccomp, worker
from ribcage.cage.lockdown import lock
from ribcage.cage.messages import Answer, CageLimits, Decoded, Failed, Job, NativeFrame

_LIBC = ctypes.CDLL(None, use_errno=True)
_PTRACE_SEIZE, _PTRACE_DETACH = 0x4206, 17


class _Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_file(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def write_file(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"x")


def fill_memory_file(_: str) -> None:
    os.write(os.memfd_create("x"), b"x")


def connect(port: str) -> None:
    socket.create_connection(("127.0.0.1", int(port)), 2).close()


def unix_socket(_: str) -> None:
    socket.socket(socket.AF_UNIX).close()


def pair(_: str) -> None:
    for end in socket.socketpair():
        end.close()


def fork(_: str) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def thread(_: str) -> None:
    one = threading.Thread(target=int)
    one.start()
    one.join()


def execute(_: str) -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)


def signal_parent(pid: str) -> None:
    os.kill(int(pid), 0)


def trace_parent(pid: str) -> None:
    _called(_LIBC.ptrace(_PTRACE_SEIZE, int(pid), None, None))
    _LIBC.ptrace(_PTRACE_DETACH, int(pid), None, None)


def read_parents_memory(where: str) -> None:
    pid, address, length = (int(one) for one in where.split())
    mine = ctypes.create_string_buffer(length)
    local, remote = _Span(ctypes.addressof(mine), length), _Span(address, length)
    _called(_LIBC.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))
    if mine.raw.strip(b"\0") != b"a secret of the front":
        raise OSError("read something else")


def new_code(_: str) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def old_pages_as_code(_: str) -> None:
    page = mmap.mmap(-1, 4096)
    _called(_LIBC.mprotect(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))), 4096, 7))


def lift_a_limit(_: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE))


def own_spaces(_: str) -> None:
    _called(_LIBC.unshare(0x10000000))


def inherited_descriptor(_: str) -> None:
    for number in range(3, 256):
        try:
            os.fstat(number)
        except OSError:
            continue
        return
    raise OSError("none")


def eight_gigabytes(_: str) -> None:
    mmap.mmap(-1, 8 << 30).close()


def spin(_: str) -> None:
    while True:
        pass


def spin_for_a_moment(_: str) -> None:
    for _ in range(1000):
        pass


def die(_: str) -> None:
    os._exit(1)


def crash(_: str) -> None:
    ctypes.string_at(1)


def ignore_the_end_of_time(_: str) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def lie_about_the_size(_: str) -> Answer:
    return Decoded(NativeFrame(b"xx", "MONOCHROME2", 1, 1000, 1000, 16, 0))


def babble(_: str) -> None:
    os.write(worker.SOCKET, b"\x05\0\0\0\0\0\0\0hello")


def promise_too_much(_: str) -> None:
    os.write(worker.SOCKET, b"\xff\xff\xff\xff\xff\xff\xff\x7f")


def environment(_: str) -> Answer:
    return Failed("invalid", json.dumps(sorted(os.environ)))


def _called(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


ATTACKS: dict[str, Callable[[str], Answer | None]] = {
    name: made
    for name, made in list(globals().items())
    if callable(made) and getattr(made, "__module__", "") == __name__
}


def do(job: Job, _: CageLimits) -> Answer:
    try:
        answer = ATTACKS[job.source.transfer_syntax_uid](job.source.header.decode())
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        return Failed("failed", f"held: {type(error).__name__}: {error}")
    return answer or Failed("invalid", "through")


def _no_lock(_: int) -> None:
    pass


def _refuse() -> None:
    raise OSError(22, "this system filters no calls")


if __name__ == "__main__":
    mode = sys.argv[1]
    if mode == "unfiltered":
        seccomp.install = lambda: None
    elif mode == "refused":
        seccomp.install = _refuse
    worker.serve(do, _no_lock if mode == "open" else lock)
