"""`ribcage restore`: a backup comes back, with two persons, today's rights and a log that says so."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ribcage.cli.destroy import read_approver
from ribcage.cli.errors import UsageError, files_at
from ribcage.cli.operator import login
from ribcage.cli.passphrase import read_passphrase
from ribcage.cli.recovery import add_share_files, unlock_by_shares
from ribcage.evidence.audit_event import OperatorActor
from ribcage.evidence.backup_manifest import manifest_hash
from ribcage.evidence.entry import token
from ribcage.evidence.errors import EntryInvalid
from ribcage.guard.home import Unlock, lock_home, open_core
from ribcage.guard.limits import GuardLimits
from ribcage.guard.log_epochs import load_epochs
from ribcage.guard.protocol import Approver
from ribcage.guard.restoration import Restoration
from ribcage.guard.restore import (
    Plan,
    begin_home,
    files_are_back,
    finish_home,
    make_plan,
    note_files_back,
    open_keys,
    put_back_rights,
)
from ribcage.storage.backup import newest_keys
from ribcage.storage.backup_check import copy_back, open_generation
from ribcage.storage.backup_folder import BackupFolder

_MOST_BYTES = 16 * 1024
_LOST = (
    "rights were lost: every standing grant is revoked; grant anew what is needed",
    "objections of patients and destructions asked for since then are not known: ask for them",
)


def add_verbs(verb: Callable[..., Any], verbs: Any) -> None:
    """The verb. `verb` is the command line's own."""
    parser = verb(verbs, "restore", "bring a backup back into a new home: two persons", restore)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the folder of `backup --to`")
    parser.add_argument(
        "--keys", type=Path, required=True, help="the live HOME/keys, or a folder of `backup --keys-to`"
    )
    parser.add_argument("--provider", type=Path, help="today's provider.json; the one in --keys if not given")
    parser.add_argument("--generation", type=int, default=0, help="the newest if not given")
    parser.add_argument("--reason", required=True, help="a label, for example disk-failed")
    parser.add_argument("--witnessed", type=Path, help="`witness show --origin O --note` of the newest log")
    parser.add_argument("--witness-gone", action="store_true", help="the trusted witness cannot be asked")
    parser.add_argument(
        "--rights-lost", action="store_true", help="revoke every grant: newer rights are unknown"
    )
    parser.add_argument(
        "--by-shares", action="store_true", help="the passphrase is lost: ask for recovery shares"
    )
    add_share_files(parser)
    parser.add_argument(
        "--persons-fd", type=int, metavar="N", help="both persons' proofs from descriptor N (JSON)"
    )


def restore(options: argparse.Namespace) -> int:
    """`ribcage restore`. Raises UsageError, GuardRefused, RestoreRefused, BackupBroken."""
    try:
        token(options.reason)
    except EntryInvalid as failure:
        raise UsageError(f"--reason: {failure}", "for example --reason disk-failed") from failure
    unlock = _unlock(options)
    keys = newest_keys(options.keys)
    old_home = options.keys.resolve().parent if keys.name == "keystore.db" else None
    with contextlib.ExitStack() as held:
        held.enter_context(files_at("the restore"))
        if old_home is not None and (old_home / "run").is_dir():
            held.callback(os.close, lock_home(old_home))  # nobody changes those keys meanwhile
        plan = _bring(options, unlock, keys)
        asyncio.run(_inside(options, unlock, plan))
        finish_home(options.home, old_home)
    print(f"{options.home} is restored and may serve: ribcage serve --home {options.home}")
    if options.by_shares or options.share_file:
        print("the passphrase is the lost one still: ribcage recovery use, before it serves")
    print("check: ribcage verify, ribcage status; then make a new backup of data and keys")
    return 0


def _unlock(options: argparse.Namespace) -> bytes | Unlock:
    """The passphrase, or the shares where it is lost. Raises UsageError."""
    if options.by_shares or options.share_file:
        return unlock_by_shares(options, _provider(options))
    return read_passphrase(options.passphrase_fd)


def _provider(options: argparse.Namespace) -> Path:
    return Path(options.provider or options.keys / "provider.json")


def _bring(options: argparse.Namespace, unlock: bytes | Unlock, keys: Path) -> Plan:
    """Everything that needs no open home: keys, plan, files, rights."""
    folder, home = BackupFolder(options.source), options.home
    hospital = folder.hospital()
    begin_home(home, keys, _provider(options))
    keyring = open_keys(home, unlock, hospital)
    try:
        manifest = open_generation(
            folder, options.generation, hospital, load_epochs(keyring, hospital).verifier_keys
        )
        plan = make_plan(
            home,
            keyring,
            manifest,
            manifest_hash(folder.manifest(manifest.generation)),
            rights_lost=options.rights_lost,
            witnessed=options.witnessed.read_bytes() if options.witnessed else None,
            witness_gone=options.witness_gone,
        )
        if not files_are_back(home):
            copy_back(folder, manifest, home, _progress)
            note_files_back(home)
        put_back_rights(home, keyring)
    finally:
        keyring.close()
    print(
        f"generation {manifest.generation}: {manifest.objects} objects are back, every byte as its manifest says"
    )
    print(f"{plan.replayed} changes of rights made after the backup are in force again")
    return plan


async def _inside(options: argparse.Namespace, unlock: bytes | Unlock, plan: Plan) -> None:
    core, _ = await asyncio.to_thread(open_core, options.home, unlock, GuardLimits(), restoring=True)
    try:
        if core.ledger_behind:
            raise UsageError("; ".join(core.findings), "try another generation: ribcage backup check")
        work = Restoration(core, OperatorActor(login()))
        await work.suspend_again()
        await work.approve(*_persons(options.persons_fd))
        await work.apply(plan, options.reason)
        statement = work.fork_statement(plan, options.reason, options.home)
    finally:
        core.close()
    done = work.report
    print(f"{done.destroyed} studies that were destroyed since are gone again, {done.files_removed} files")
    print(
        f"the log goes on in epoch {plan.log_epoch} after entry {plan.restored.size}; {plan.known.size} were known"
    )
    print(f"fork statement for the witness: {statement}")
    if plan.rights_lost:
        print(f"{done.grants_revoked} grants revoked")
        for line in _LOST:
            print(line)


def _persons(descriptor: int | None) -> tuple[Approver, Approver]:
    """The two proofs, asked one after the other. Raises UsageError."""
    if descriptor is None:
        return read_approver(None, "First person"), read_approver(None, "Second person")
    try:
        with os.fdopen(os.dup(descriptor), "rb") as source:
            return msgspec.json.decode(source.read(_MOST_BYTES), type=tuple[Approver, Approver])
    except (OSError, msgspec.MsgspecError) as failure:
        raise UsageError(
            f"descriptor {descriptor}: expected a JSON list of two: username, password and code",
            "each person gives their own",
        ) from failure


def _progress(done: int, octets: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} objects, {octets / 1_000_000:.1f} MB", end="", file=sys.stderr, flush=True)
