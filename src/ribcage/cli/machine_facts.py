"""What the doctor reads of the machine: `/proc`, mounts, limits, sockets. Linux; what is not there is unknown."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import ssl
import statistics
import struct
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from ribcage.oversight.doctor.machine import (
    DICOM_PORTS,
    Answer,
    FileSystem,
    LimitFacts,
    Listener,
    ProcessFacts,
)

_PROC = Path("/proc")
_UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
_LISTENING = "0A"
_SYNCS, _SYNC_BYTES = 5, 4096
_ANSWER_SECONDS = 3.0


class _Timex(ctypes.Structure):
    """The head of `struct timex`; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "frequency", "most_error", "estimated_error")),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def ntp() -> tuple[bool | None, float | None]:
    """`(synchronised, greatest error in seconds)` as the kernel has it; None where it does not tell."""
    state = _Timex()  # modes 0: read, set nothing
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError):
        return None, None
    if answer < 0:
        return None, None
    return not state.status & _UNSYNCHRONISED, state.most_error / 1e6


def newest_change(folder: Path) -> float:
    """The newest modification below a folder, one level deep, in Unix seconds; 0 where there is none."""
    newest = 0.0
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            with contextlib.suppress(OSError):
                newest = max(newest, each.stat().st_mtime)
    return newest


# --- disks ----------------------------------------------------------------------------------------------


def mount_kind(path: Path) -> str:
    """The type of the file system that a path is on; '' unknown."""
    best, kind = -1, ""
    place = str(path.resolve())
    with contextlib.suppress(OSError):
        for line in (_PROC / "self" / "mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            point = left.split()[4].replace("\\040", " ")
            inside = place == point or place.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= best:  # a later mount on the same point covers the earlier
                best, kind = len(point), right.split()[0]
    return kind


def file_systems(home: Path, folders: Sequence[str]) -> tuple[FileSystem, ...]:
    """The file systems under these folders of a home, each with a measured sync."""
    grouped: dict[int, list[str]] = {}
    for name in folders:
        with contextlib.suppress(OSError):
            grouped.setdefault((home / name).stat().st_dev, []).append(name)
    return tuple(_file_system(home, tuple(names)) for names in grouped.values())


def _file_system(home: Path, names: tuple[str, ...]) -> FileSystem:
    place = home / names[0]
    facts = os.statvfs(place)
    return FileSystem(
        folders=names,
        kind=mount_kind(place),
        free_bytes=facts.f_bavail * facts.f_frsize,
        read_only=bool(facts.f_flag & os.ST_RDONLY),
        sync_seconds=sync_seconds(place),
    )


def sync_seconds(folder: Path) -> float | None:
    """Median of a few writes of one page with their fdatasync, in a file that never has a name; None: impossible."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        taken = []
        for number in range(_SYNCS):
            begun = time.monotonic()
            os.pwrite(descriptor, bytes(_SYNC_BYTES), number * _SYNC_BYTES)
            os.fdatasync(descriptor)
            taken.append(time.monotonic() - begun)
        return statistics.median(taken)
    except OSError:
        return None
    finally:
        os.close(descriptor)


# --- processes and limits -------------------------------------------------------------------------------


def _commands() -> Iterator[tuple[int, list[str]]]:
    for each in _PROC.iterdir():
        if each.name.isdigit():
            with contextlib.suppress(OSError):
                words = (each / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                yield int(each.name), [word.decode(errors="replace") for word in words]


def archive_processes(home: Path, wanted_fronts: int, *, answers: bool) -> ProcessFacts:
    """Guards and fronts of this home, by their command lines."""
    found: dict[str, list[int]] = {"guard": [], "front": []}
    place = str(home.resolve())
    for pid, words in _commands():
        for role, held in found.items():
            if place in words and any(f"ribcage.cli.{role}_process" in word for word in words):
                held.append(pid)
    holder = lock_holder(home / "run" / "guard.lock")
    return ProcessFacts(tuple(found["guard"]), len(found["front"]), wanted_fronts, answers, holder)


def lock_holder(path: Path) -> int:
    """The process that holds a lock on this file, 0 for nobody; read without touching the lock."""
    try:
        inode = str(path.stat().st_ino)
        for line in (_PROC / "locks").read_text().splitlines():
            words = line.split()
            if "FLOCK" in words and words[5].rpartition(":")[2] == inode:
                return max(int(words[4]), 1)
    except (OSError, ValueError, IndexError):
        pass
    return 0


def limit_facts(guard: int | None) -> LimitFacts:
    """Of the guard's process where it runs, else of this shell."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    whose = "this shell"
    if guard is not None:
        with contextlib.suppress(OSError, KeyError):
            of = _limits_of((_PROC / str(guard) / "limits").read_text())
            files, locked, whose = of["Max open files"], of["Max locked memory"], "the guard"
    return LimitFacts(whose, files, locked, _swap(), _read(_PROC / "sys" / "kernel" / "core_pattern"))


def _limits_of(text: str) -> dict[str, int]:
    """Soft limits of `/proc/PID/limits`, -1 for unlimited."""
    found = {}
    for line in text.splitlines()[1:]:
        name, soft = line[:26].strip(), line[26:].split()[0]
        found[name] = -1 if soft == "unlimited" else int(soft)
    return found


def _swap() -> bool:
    return len(_read(_PROC / "swaps").splitlines()) > 1


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


# --- ports ----------------------------------------------------------------------------------------------


def listeners(own: Sequence[int]) -> tuple[Listener, ...]:
    """Who listens on DICOM's ports, our own apart."""
    return listeners_on(set(DICOM_PORTS) - set(own))


def listeners_on(ports: Set[int]) -> tuple[Listener, ...]:
    """Who listens on these ports."""
    found = [each for each in _listening() if each[1] in ports]
    programs = _programs({inode for _, _, inode in found})
    return tuple(Listener(address, port, programs.get(inode, "")) for address, port, inode in found)


def _listening() -> Iterator[tuple[str, int, str]]:
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in _read(_PROC / "net" / name).splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTENING:
                raw, _, port = words[1].partition(":")
                yield _address(raw, family), int(port, 16), words[9]


def own_addresses() -> tuple[str, ...]:
    """The addresses of this machine's interfaces, as the kernel lists them."""
    found, last = set(), ""
    for line in _read(_PROC / "net" / "fib_trie").splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            last = words[1]
        elif words[1:] == ["host", "LOCAL"]:
            found.add(last)
    for line in _read(_PROC / "net" / "if_inet6").splitlines():
        found.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])))
    return tuple(sorted(found))


def _address(raw: str, family: socket.AddressFamily) -> str:
    """The kernel prints 32-bit words in the machine's own order."""
    words = [int(raw[at : at + 8], 16) for at in range(0, len(raw), 8)]
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))


def _programs(inodes: set[str]) -> dict[str, str]:
    """Names of the programs that hold these sockets, as far as this user may see."""
    found: dict[str, str] = {}
    wanted: Mapping[str, str] = {f"socket:[{inode}]": inode for inode in inodes}
    for process in _PROC.iterdir() if wanted else ():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                for descriptor in (process / "fd").iterdir():
                    inode = wanted.get(os.readlink(descriptor))
                    if inode:
                        found[inode] = _read(process / "comm")
    return found


def tls_answer(address: str, port: int) -> tuple[Answer, bytes]:
    """What a listener says to TLS, and its certificate (DER). Whether it may be trusted is not asked."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - replaced, never bound
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((here, port), _ANSWER_SECONDS) as link,
            context.wrap_socket(link) as secure,
        ):
            return "tls", secure.getpeercert(binary_form=True) or b""
    except ConnectionRefusedError:
        return "refused", b""
    except TimeoutError:
        return "silent", b""
    except OSError:
        return "plain", b""
