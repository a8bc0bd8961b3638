"""`ribcage doctor`: facts of machine, home and guard go to the checks of `oversight.doctor`; a person reads the rest.

Rules, in order:
1. It reads. Where no server runs and the passphrase is given it is the guard for a moment, as every command is; that
   leaves the entries of a start and a stop. What it cannot ask, it names.
2. Whatever is wrong with the home is a finding, never a traceback.
3. Status 0: nothing is bad or a warning; 1: something is; 2: usage.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlcipher3 import dbapi2 as sqlcipher

from ribcage import __version__
from ribcage.cli import machine_facts, settings
from ribcage.cli.errors import UsageError
from ribcage.cli.exposure import facts as exposure_facts
from ribcage.cli.operator import login, operator
from ribcage.cli.passphrase import read_passphrase
from ribcage.crypto import authority
from ribcage.crypto.errors import (
    CryptoError,
    FormatNewer,
    KeyProviderFailure,
    KeyStoreFailure,
    WrongPassphrase,
)
from ribcage.crypto.provider import provider_facts
from ribcage.database.errors import DatabaseError, DatabaseNewer, MigrationFailed
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardError, GuardUnavailable
from ribcage.guard.home import RESTORING, SUPERSEDED
from ribcage.guard.place import HomeError, socket_path
from ribcage.guard.protocol import (
    GetHealth,
    GetMetrics,
    GetStatus,
    Health,
    Metrics,
    Noted,
    Operator,
    Ping,
    Status,
    Term,
)
from ribcage.ledger.errors import LedgerError
from ribcage.oversight.doctor import exposure, house, machine
from ribcage.oversight.doctor.finding import Finding, needs_a_person, worst

_ASK_SECONDS = 120.0  # Argon2id, the log's end and a silent witness take their time
_PING_SECONDS = 5.0
_FOLDERS = ("objects", "database", "keys", "run")
_SYNCED_MARKS = (".stfolder", ".dropbox", ".dropbox.cache", ".sync", ".owncloudsync.log", ".git", ".snapshot")


@dataclass(frozen=True)
class Told:
    """What the guard told; `trouble` other than 'none' where it did not."""

    trouble: house.Trouble
    text: str = ""
    status: Status | None = None
    metrics: Metrics | None = None
    health: Health | None = None


def add_verbs(verb: Callable[..., Any], verbs: Any) -> None:
    """The verb. `verb` is the command line's own."""
    parser = verb(
        verbs, "doctor", "examine machine, home and listeners; status 1 when something is wrong", run
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-passphrase", action="store_true", help="only what can be seen from outside")


def run(options: argparse.Namespace) -> int:
    """`ribcage doctor`. Raises UsageError for a folder that is not there."""
    home: Path = options.home
    if not home.is_dir():
        raise UsageError(f"{home} is not a folder", "give the archive's folder with --home")
    findings = examine(home, lambda demo: _passphrase(options, demo), time.time())
    if options.json:
        print(
            json.dumps({"level": worst(findings), "findings": [asdict(each) for each in findings]}, indent=1)
        )
    else:
        _print(findings)
    return 1 if needs_a_person(findings) else 0


def _passphrase(options: argparse.Namespace, demo: bool) -> bytes | None:
    if options.no_passphrase:
        return None
    if options.passphrase_fd is None and not sys.stdin.isatty():
        with contextlib.suppress(UsageError):
            return read_passphrase(None, demo=demo)
        return None
    return read_passphrase(options.passphrase_fd, demo=demo)


def _print(findings: list[Finding]) -> None:
    for each in findings:
        print(f"{each.level:8} {each.check:14} {each.text}")
        if each.remedy and each.level != "ok":
            print(f"{'':23} → {each.remedy}")
    print(f"{sum(each.level in ('warning', 'bad') for each in findings)} findings need a person")


def examine(home: Path, ask_passphrase: Callable[[bool], bytes | None], now: float) -> list[Finding]:
    """Every check of one home. `now` in Unix seconds: what terms of certificates are held against."""
    wanted, broken = settings.Settings(), ""
    try:
        wanted = settings.load(home)
    except UsageError as failure:
        broken = str(failure)
    answers = asyncio.run(_answers(home))
    processes = machine_facts.archive_processes(home, wanted.fronts, answers=answers)
    limits = machine_facts.limit_facts(processes.guards[0] if processes.guards else None)
    disks = machine_facts.file_systems(home, _FOLDERS)  # before anything is opened: a full disk is found full
    told = _told(home, answers, processes, ask_passphrase, wanted.demo)
    listeners, certificate = _listeners(wanted, running=answers)
    found = machine.processes(processes) + house.opening(told.trouble, told.text)
    if broken:
        found += house.opening("settings", broken)
    return [
        *found,
        *machine.clock(_clock(home, told, now)),
        *house.certificates(_certificates(wanted, told, certificate, now)),
        *house.provider(_provider(home)),
        *house.places(_places(home)),
        *machine.disk(_disk(home, disks, wanted)),
        *house.log(_log(told)),
        *house.ledger(_log(told)),
        *house.queue(told.status),
        *house.witness(told.status.witness if told.status else None, now),
        *machine.ports(
            machine.PortFacts(answers, listeners, machine_facts.listeners(_own_ports(wanted, answers)))
        ),
        *exposure.exposure(exposure_facts(wanted, _own_ports(wanted, answers))),
        *machine.limits(limits),
        *house.versions(_versions(told)),
    ]


# --- the guard ------------------------------------------------------------------------------------------


async def _answers(home: Path) -> bool:
    try:
        async with asyncio.timeout(_PING_SECONDS):
            client = await GuardClient.connect(socket_path(home))
            try:
                await client.call(Ping(), Noted)
            finally:
                await client.close()
    except (GuardError, TimeoutError):
        return False
    return True


def _told(
    home: Path,
    answers: bool,
    processes: machine.ProcessFacts,
    ask_passphrase: Callable[[bool], bytes | None],
    demo: bool,
) -> Told:
    seen = _seen_from_outside(home)
    if seen is not None:
        return seen
    if not answers and processes.holder:
        text = f"process {processes.holder} has this home open and does not answer"
        return Told("silent", text)
    passphrase = ask_passphrase(demo)
    return Told("no_passphrase") if passphrase is None else asyncio.run(_ask(home, passphrase))


def _seen_from_outside(home: Path) -> Told | None:
    """What keeps a home from being opened at all, and needs no passphrase to be seen."""
    if not (home / "home.json").exists():
        return Told("not_a_home", f"{home} has no home.json: it is not a Ribcage home, or not a whole one")
    if (home / SUPERSEDED).exists():
        return Told("superseded", "a restore went on elsewhere with these keys: this home stays closed")
    if (home / RESTORING).exists():
        return Told("restoring", "a restore into this home is not finished")
    if not (home / "database" / "ribcage.db").exists():  # opening would make an empty one
        return Told(
            "database", "database/ribcage.db is missing: the home has keys and objects without their index"
        )
    if home.stat().st_uid != os.geteuid():
        return Told(
            "permission", "the home belongs to another user: opening it would leave files that it cannot use"
        )
    return None


async def _ask(home: Path, passphrase: bytes) -> Told:
    try:
        async with asyncio.timeout(_ASK_SECONDS), operator(home, passphrase) as client:
            status = await client.call(GetStatus(), Status)
            metrics = await client.call(GetMetrics(Operator(name=login())), Metrics)
            return Told("none", "", status, metrics, await client.call(GetHealth(), Health))
    except Exception as failure:  # noqa: BLE001 - the doctor's edge: whatever is wrong is a finding
        return Told(*_trouble(failure))


def _trouble(failure: Exception) -> tuple[house.Trouble, str]:
    """Which case it is, and one sentence. Messages of foreign exceptions stay out: they may hold values."""
    match failure:
        case UsageError() if "passphrase" in str(failure):
            return "wrong_passphrase", "the passphrase does not open this home"
        case WrongPassphrase():
            return "wrong_passphrase", "the passphrase does not open this home"
        case UsageError():
            return "settings", str(failure)
        case HomeError():
            return failure.trouble, str(failure)
        case FormatNewer() | DatabaseNewer() | MigrationFailed():
            return "newer", str(failure)
        case KeyStoreFailure():
            return "key_store", str(failure)
        case KeyProviderFailure():
            return "provider", str(failure)
        case DatabaseError():
            return "database", str(failure)
        case LedgerError():
            return "ledger", str(failure)
        case TimeoutError():
            return "silent", "the guard does not answer in time"
        case GuardUnavailable():
            return "silent", f"the guard cannot answer: {failure}"
        case CryptoError():
            return "key_store", str(failure)
        case sa.exc.SQLAlchemyError():
            return "database", f"the database cannot be read: {type(failure).__name__}"
        case PermissionError():
            return "permission", "a file of the home may not be read or written"
        case OSError():
            return "other", f"the home cannot be opened: {failure.strerror}"
    return "other", f"the home cannot be opened: {type(failure).__name__}"


# --- facts ----------------------------------------------------------------------------------------------


def _clock(home: Path, told: Told, now: float) -> machine.ClockFacts:
    synchronised, error = machine_facts.ntp()
    newest = machine_facts.newest_change(home / "database")
    if told.metrics is None or told.health is None:
        return machine.ClockFacts(now, newest, synchronised, error)
    stepped = (
        ("back" if told.metrics.clock_off_seconds < 0 else "forward") if told.metrics.clock_stepped else ""
    )
    return machine.ClockFacts(
        now, newest, synchronised, error, stepped, told.metrics.clock_off_seconds, told.health.newest_entry
    )


def _certificates(wanted: settings.Settings, told: Told, seen: bytes, now: float) -> house.CertificateFacts:
    listener, names = (told.health.listener, tuple(told.health.names)) if told.health else (None, None)
    if listener is None and seen:
        with contextlib.suppress(CryptoError):
            info = authority.read_certificate(seen)
            term = info.not_before.timestamp(), info.not_after.timestamp()
            listener, names = Term("the listeners' certificate", *term), authority.names_of(seen)
    return house.CertificateFacts(
        now=now,
        listener=listener,
        names=names,
        addresses=tuple(each.address for each in wanted.addresses()),
        hostnames=tuple(wanted.hostnames),
        authorities=tuple(told.health.authorities) if told.health else None,
        devices=tuple(told.health.devices) if told.health else None,
    )


def _provider(home: Path) -> house.ProviderFacts:
    try:
        facts = provider_facts(home / "keys" / "provider.json")
    except CryptoError as failure:
        return house.ProviderFacts(str(failure))
    return house.ProviderFacts("", "file", facts.slots, facts.cost.memory_kib, facts.cost.iterations)


def _places(home: Path) -> house.PlaceFacts:
    keys = (home / "keys").resolve()
    paths = [home, home / "home.json", *(home / name for name in _FOLDERS)]
    for name in ("keys", "database"):
        with contextlib.suppress(OSError):
            paths += sorted((home / name).iterdir())
    listed = []
    for path in paths:
        with contextlib.suppress(OSError):
            facts = path.stat()
            name = "" if path == home else path.relative_to(home).as_posix()
            listed.append(house.Place(name, facts.st_mode, facts.st_uid == os.geteuid()))
    marks = [
        f"{folder / mark}"
        for folder in (keys, *keys.parents)
        for mark in _SYNCED_MARKS
        if (folder / mark).exists()
    ]
    root = home.resolve().with_name(home.resolve().name + "-root")
    beside = str(root) if (root / "provider.json").exists() else ""
    return house.PlaceFacts(tuple(listed), str(keys), machine_facts.mount_kind(keys), tuple(marks), beside)


def _disk(
    home: Path, systems: tuple[machine.FileSystem, ...], wanted: settings.Settings
) -> machine.DiskFacts:
    reserve = wanted.disk_reserve_mib << 20
    try:
        held = (home / "database" / "reserve").stat().st_blocks * 512 >= reserve
    except OSError:
        held = False
    return machine.DiskFacts(systems, wanted.disk_stop_mib << 20, reserve, held)


def _log(told: Told) -> house.LogFacts | None:
    if told.metrics is None or told.health is None or told.status is None:
        return None
    return house.LogFacts(
        size=told.metrics.log_entries,
        checkpoint_size=told.health.newest_checkpoint,
        key_store_size=told.health.key_store_checkpoint,
        checkpoint_age_seconds=told.metrics.checkpoint_age_seconds,
        missing=told.health.missing_entries,
        ledger_height=told.metrics.ledger_height,
        ledger_behind=told.metrics.ledger_behind,
        findings=tuple(told.status.findings),
    )


def _listeners(
    wanted: settings.Settings, *, running: bool
) -> tuple[tuple[tuple[str, machine.Answer], ...], bytes]:
    """How our own listeners answer, and the certificate that one of them showed."""
    answers, certificate = [], b""
    for each in wanted.addresses() if running else ():
        if each.port:
            answer, shown = machine_facts.tls_answer(each.address, each.port)
            answers.append((each.listener, answer))
            certificate = shown or certificate
    return tuple(answers), certificate


def _own_ports(wanted: settings.Settings, running: bool) -> list[int]:
    return [each.port for each in wanted.addresses()] if running else []


def _versions(told: Told) -> tuple[house.Version, ...]:
    cipher = sqlcipher.connect(":memory:")
    sealed = cipher.execute("PRAGMA cipher_version").fetchone()
    cipher.close()
    formats = told.health.formats if told.health else {}
    return (
        house.Version("Ribcage", told.status.version if told.status else __version__),
        house.Version("Python", platform.python_version(), (3, 11), (3, 13)),
        house.Version("SQLite", sqlcipher.sqlite_version, (3, 37)),
        house.Version("SQLCipher", str(sealed[0]) if sealed else "", (4,)),
        house.Version("OpenSSL", ".".join(map(str, ssl.OPENSSL_VERSION_INFO[:3])), (3,)),
        *(house.Version(f"{name} format", str(number)) for name, number in formats.items()),
    )
