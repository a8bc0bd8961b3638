"""Checks of the machine under the archive: clock, disks, limits, ports, processes. Times in Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ribcage.oversight.doctor.finding import Finding, Level, unasked

_BACK_SECONDS: Final = 5.0  # as the guard's own watch has it
_MOST_ERROR_SECONDS: Final = 1.0
_SLOW_SECONDS, _STUCK_SECONDS = 0.05, 0.5
_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "ncpfs"}
)
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_FEW_FILES, _ENOUGH_FILES = 1024, 4096
_LOCKED_BYTES: Final = 64 << 20
DICOM_PORTS: Final = (104, 2761, 2762, 4242, 11112)
_TLS_PORT: Final = 2762


@dataclass(frozen=True)
class ClockFacts:
    """`stepped`, `off_seconds`, `newest_entry` are the guard's and None without it; the others the machine's."""

    now: float
    newest_file: float
    synchronised: bool | None
    error_seconds: float | None
    stepped: str | None = None
    off_seconds: float | None = None
    newest_entry: float | None = None


def clock(facts: ClockFacts) -> list[Finding]:
    """Stepped against the kernel's count, behind the log or the files, or not disciplined by NTP."""
    found = []
    right = "set the clock right (NTP), or `ribcage clock accept` when it is right"
    if facts.stepped is None:
        found.append(unasked("clock", "the clock against the kernel's count and the log's newest entry"))
    elif facts.stepped:
        off = abs(facts.off_seconds or 0.0)
        found.append(Finding("clock", "bad", f"the clock was stepped {facts.stepped} by {off:.0f} s", right))
    for what, moment in (
        ("the log's newest entry", facts.newest_entry),
        ("the newest file", facts.newest_file),
    ):
        if moment is not None and facts.now < moment - _BACK_SECONDS:
            text = f"the clock is {moment - facts.now:.0f} s behind {what}"
            found.append(Finding("clock", "bad", text, right))
    if facts.synchronised is None:
        found.append(Finding("clock", "note", "the kernel does not tell whether NTP keeps the clock"))
    elif not facts.synchronised:
        text = "nothing keeps the clock right: the kernel says it is not synchronised"
        found.append(Finding("clock", "warning", text, "start chrony or systemd-timesyncd"))
    elif (facts.error_seconds or 0.0) > _MOST_ERROR_SECONDS:
        text = f"the clock may be wrong by {facts.error_seconds:.1f} s"
        found.append(
            Finding("clock", "warning", text, "look at `chronyc tracking` or `timedatectl timesync-status`")
        )
    return found or [Finding("clock", "ok", "the clock agrees with kernel, log, files and NTP")]


@dataclass(frozen=True)
class FileSystem:
    """One file system and which of the home's folders lie on it. `sync_seconds` None: it could not be measured."""

    folders: tuple[str, ...]
    kind: str
    free_bytes: int
    read_only: bool
    sync_seconds: float | None


@dataclass(frozen=True)
class DiskFacts:
    """`reserve_held`: the log's preallocated file has its size."""

    systems: tuple[FileSystem, ...]
    stop_bytes: int
    reserve_bytes: int
    reserve_held: bool


def disk(facts: DiskFacts) -> list[Finding]:
    """Room against watermark and reserve, fsync latency, read-only mounts, file systems that lose or share."""
    found = []
    for system in facts.systems:
        found += _file_system(system, facts.stop_bytes)
    if not facts.reserve_held:
        mib = facts.reserve_bytes >> 20
        text = f"the log's reserve of {mib} MiB is not there: it was given up on a full disk, or never made"
        found.append(Finding("disk", "warning", text, "make room; the running guard makes it again"))
    return found


def _file_system(system: FileSystem, stop_bytes: int) -> list[Finding]:
    where, mib = ", ".join(system.folders), system.free_bytes >> 20
    if system.read_only:
        return [
            Finding(
                "disk", "bad", f"{where}: mounted read-only", "look at `dmesg`; check the disk; remount it"
            )
        ]
    found = []
    if system.free_bytes < stop_bytes:
        text = f"{where}: {mib} MiB left, storing stops below {stop_bytes >> 20} MiB"
        found.append(Finding("disk", "bad", text, "free room: peers hear A700 and 507"))
    elif system.free_bytes < 4 * stop_bytes:
        text = f"{where}: {mib} MiB left, storing stops below {stop_bytes >> 20} MiB"
        found.append(Finding("disk", "warning", text, "free room soon"))
    if system.kind in _IN_MEMORY:
        text = f"{where}: on {system.kind}, gone when the machine stops"
        found.append(Finding("disk", "bad", text, "move the home to a disk"))
    elif system.kind in _NETWORK or system.kind.startswith("fuse."):
        safe = not {"database", "keys"} & set(system.folders)
        text = f"{where}: on {system.kind}, whose locks and syncs may not hold"
        found.append(
            Finding("disk", "warning" if safe else "bad", text, "keep database and keys on a local disk")
        )
    if system.sync_seconds is None:
        found.append(Finding("disk", "note", f"{where}: a sync could not be measured"))
    elif system.sync_seconds > _SLOW_SECONDS:
        level: Level = "bad" if system.sync_seconds > _STUCK_SECONDS else "warning"
        text = f"{where}: a sync takes {system.sync_seconds * 1000:.0f} ms; each answer to a modality waits for one"
        found.append(Finding("disk", level, text, "look for a failing disk or a busy neighbour"))
    if found:
        return found
    sync = 1000 * (system.sync_seconds or 0.0)
    return [Finding("disk", "ok", f"{where}: {mib} MiB left on {system.kind}, a sync takes {sync:.1f} ms")]


@dataclass(frozen=True)
class LimitFacts:
    """Soft limits; -1 is unlimited. `whose`: the guard's where it runs, else this shell's."""

    whose: str
    open_files: int
    locked_bytes: int
    swap: bool
    core_pattern: str


def limits(facts: LimitFacts) -> list[Finding]:
    """Open files, locked memory beside swap, and where cores go."""
    found = []
    if 0 <= facts.open_files < _ENOUGH_FILES:
        level: Level = "warning" if facts.open_files < _FEW_FILES else "note"
        text = f"{facts.whose} may open {facts.open_files} files; busy fronts want {_ENOUGH_FILES}"
        found.append(Finding("limits", level, text, f"LimitNOFILE={_ENOUGH_FILES} in the unit, or ulimit -n"))
    if facts.swap and 0 <= facts.locked_bytes < _LOCKED_BYTES:
        text = f"there is swap, and {facts.whose} may lock {facts.locked_bytes >> 10} KiB: keys may reach the disk"
        found.append(
            Finding("limits", "warning", text, "LimitMEMLOCK=infinity in the unit, or encrypted swap")
        )
    if facts.core_pattern.startswith("|"):
        program = facts.core_pattern[1:].split()[0] if facts.core_pattern[1:].split() else "a program"
        text = f"cores of crashed programs go to {program}; the archive's processes forbid theirs"
        found.append(
            Finding("limits", "note", text, "nothing to do, but know where other programs' memory goes")
        )
    return found or [Finding("limits", "ok", "open files, locked memory and cores")]


@dataclass(frozen=True)
class Listener:
    """Somebody who listens on a port that DICOM uses. `program` is '' where this user may not see it."""

    address: str
    port: int
    program: str

    @property
    def loopback(self) -> bool:
        """Reachable from this machine alone."""
        return self.address.startswith("127.") or self.address == "::1"


Answer = Literal["tls", "plain", "refused", "silent"]


@dataclass(frozen=True)
class PortFacts:
    """`answers`: what our own listeners said, by kind; `others`: who else is on DICOM's ports."""

    running: bool
    answers: tuple[tuple[str, Answer], ...]
    others: tuple[Listener, ...]


def ports(facts: PortFacts) -> list[Finding]:
    """Our listeners answer with TLS; nobody else listens for plain DICOM on this machine."""
    found = []
    for kind, answer in facts.answers if facts.running else ():
        if answer != "tls":
            text = {
                "plain": f"something that does not speak TLS answers on the {kind} port",
                "refused": f"nothing listens on the {kind} port",
                "silent": f"the {kind} port is open and does not answer",
            }[answer]
            remedy = "look at the server's own log; is the port another program's?"
            found.append(Finding("ports", "bad", text, remedy))
    for other in facts.others:
        program = other.program or "a program"
        text = f"{program} listens on {other.address} port {other.port}, which DICOM uses"
        if other.loopback or other.port == _TLS_PORT:
            found.append(Finding("ports", "note", text, "make sure that you know what it is"))
        else:
            found.append(Finding("ports", "warning", text, "an open archive beside this one leaks: close it"))
    if not found:
        words = "listeners answer with TLS; nobody else" if facts.running else "nobody"
        found.append(Finding("ports", "ok", f"{words} listens on DICOM's ports"))
    return found


@dataclass(frozen=True)
class ProcessFacts:
    """Processes of this home. `holder`: who holds its lock, 0 for nobody. `answers`: the guard's socket does."""

    guards: tuple[int, ...]
    fronts: int
    wanted_fronts: int
    answers: bool
    holder: int


def processes(facts: ProcessFacts) -> list[Finding]:
    """Running, half running or stopped."""
    stop = "stop the server, end what is left of it by its process id, start it again"
    if len(facts.guards) > 1:
        return [Finding("processes", "bad", f"{len(facts.guards)} guards of one home", stop)]
    if facts.answers and not facts.guards:
        text = "a guard answers, and no `ribcage serve` of this home is seen: another command has it for a moment"
        return [Finding("processes", "note", text)]
    if facts.answers:
        if facts.fronts < facts.wanted_fronts:
            text = f"{facts.fronts} of {facts.wanted_fronts} fronts run"
            return [
                Finding(
                    "processes", "warning", text, "the supervisor starts them again; see the server's own log"
                )
            ]
        return [Finding("processes", "ok", f"the archive runs: {facts.fronts} fronts, the guard answers")]
    if facts.holder or facts.guards:
        pid = facts.holder or facts.guards[0]
        return [
            Finding("processes", "bad", f"process {pid} has the home and does not answer on its socket", stop)
        ]
    if facts.fronts:
        return [Finding("processes", "bad", f"{facts.fronts} fronts run without a guard", stop)]
    return [Finding("processes", "note", "the archive does not run", "`ribcage serve` starts it")]
