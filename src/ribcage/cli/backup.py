"""`ribcage backup`: the data, the key store, and a rehearsal that the copy can come back."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ribcage.cli.errors import UsageError, files_at
from ribcage.cli.passphrase import read_passphrase
from ribcage.cli.rehearsal import rehearse
from ribcage.guard.client import GuardClient
from ribcage.guard.place import read_facts
from ribcage.storage.backup import (
    back_up,
    back_up_keys,
    check_places,
    keys_folder,
    note_places,
    remembered_place,
)
from ribcage.storage.backup_folder import BackupFolder

_KEEP = 7
_MEGA = 1_000_000


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of backup. `verb` and `with_guard` are the command line's own."""
    parser = verb(
        verbs, "backup", "copy the data, or the key store, while the archive runs", with_guard(make)
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where backups of the data go")
    parser.add_argument(
        "--keys-to", type=Path, metavar="FOLDER", help="where copies of the key store go: elsewhere"
    )
    parser.add_argument("--keep", type=int, default=_KEEP, help=f"how many stay; {_KEEP} if not given")
    actions = parser.add_subparsers(dest="action", metavar="check")
    one = verb(actions, "check", "recompute a backup and rehearse its restore", check)
    one.add_argument("folder", type=Path)
    one.add_argument("--generation", type=int, default=0, help="the newest if not given")
    one.add_argument("--sample", type=int, default=0, help="open only so many objects; all if not given")


async def make(client: GuardClient, options: argparse.Namespace) -> int:
    """`ribcage backup --to FOLDER --keys-to FOLDER`; exit status 1 with findings."""
    if options.to is None and options.keys_to is None:
        raise UsageError("nothing to do", "ribcage backup --to FOLDER, and --keys-to ANOTHER-FOLDER")
    if options.keep < 1:
        raise UsageError(f"--keep: expected 1 or more, got {options.keep}")
    home, hospital = options.home, read_facts(options.home).hospital
    data = options.to or remembered_place(home, "data")
    keys = options.keys_to or remembered_place(home, "keys")
    check_places(home, data, keys)
    with files_at("the backup"):
        return await _make(client, options, hospital)


async def _make(client: GuardClient, options: argparse.Namespace, hospital: bytes) -> int:
    home, went = options.home, dict[str, Path]()
    if options.to is not None:
        report = await back_up(client, home, BackupFolder(options.to), hospital, options.keep, _progress)
        _end_of_line()
        print(
            f"generation {report.generation} in {options.to}: {report.objects} objects, "
            f"{report.octets / _MEGA:.1f} MB; {report.copied} new, {report.copied_octets / _MEGA:.1f} MB; "
            f"{report.seconds:.1f} s"
        )
        went["data"] = options.to
    if options.keys_to is not None:
        copied = await back_up_keys(client, home, keys_folder(options.keys_to), hospital, options.keep)
        print(
            f"key store in {options.keys_to}: epoch {copied.key_epoch}, ledger height {copied.ledger_height}"
        )
        print("provider.json is not in it, on purpose: keep a copy of it on paper or a medium of its own")
        went["keys"] = options.keys_to
    findings = note_places(home, **went)
    for finding in findings:
        print(f"finding: {finding}")
    return 1 if findings else 0


def check(options: argparse.Namespace) -> int:
    """`ribcage backup check FOLDER`; exit status 1 when anything differs."""
    passphrase = read_passphrase(options.passphrase_fd)
    folder, number, sample = BackupFolder(options.folder), options.generation, options.sample
    with files_at("the check"):
        seen = asyncio.run(rehearse(options.home, folder, passphrase, number, sample, _progress))
    _end_of_line()
    age = (time.time() * 1000 - seen.time_ms) / 3_600_000
    print(f"generation {seen.generation}, made {age:.1f} hours ago, under log epoch {seen.log_epoch}")
    print(f"files: {seen.objects} objects, every byte as the manifest says; {seen.files_seconds:.1f} s")
    print(
        f"rehearsal: {seen.replayed} newer changes of rights, {seen.lost} studies destroyed since, "
        f"{seen.opened} objects opened; {seen.rehearsal_seconds:.1f} s"
    )
    for each in seen.differences:
        print(f"DIFFERENCE {each.part}: {each.where}: expected {each.expected}, found {each.found}")
    print(
        "backup check: good" if not seen.differences else f"backup check: {len(seen.differences)} differences"
    )
    return 1 if seen.differences else 0


def _progress(done: int, octets: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} objects, {octets / _MEGA:.1f} MB", end="", file=sys.stderr, flush=True)


def _end_of_line() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
