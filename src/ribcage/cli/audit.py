"""`ribcage audit show|prove|export` and `ribcage verify`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ribcage.cli.errors import UsageError
from ribcage.evidence.audit_event import describe
from ribcage.evidence.errors import EntryInvalid
from ribcage.guard.client import GuardClient
from ribcage.guard.proof_file import bundle_of
from ribcage.guard.protocol import AuditEntries, AuditPage, EntryProof, ProveEntry
from ribcage.oversight.log_export import export_log
from ribcage.storage.verify import VerifyReport, verify_home


async def show(client: GuardClient, options: argparse.Namespace) -> None:
    """Print entries, one line each."""
    request = AuditPage(start=options.start, count=options.count, person=options.person)
    answer = await client.call(request, AuditEntries)
    for index, body in answer.entries:
        try:
            line = describe(body.encode())
        except EntryInvalid:
            line = "THIS ENTRY DOES NOT OPEN: run `ribcage verify`"
        print(f"{index:8}  {body if options.json else line}")


async def prove(client: GuardClient, options: argparse.Namespace) -> None:
    """Write a proof that a stranger checks with `tools/verify_proof.py`."""
    proof = await client.call(ProveEntry(index=options.index), EntryProof)
    bundle = bundle_of(proof)
    Path(options.out).write_bytes(bundle)
    print(f"proof of entry {proof.index} in {options.out}; the log's key is {proof.verifier_key}")


async def export(client: GuardClient, options: argparse.Namespace) -> None:
    """Write or continue a folder that `tools/verify_log.py` checks. Raises UsageError."""

    def progress(done: int, size: int) -> None:
        if sys.stderr.isatty():
            print(
                f"\r{done} of {size} entries", end="\n" if done == size else "", file=sys.stderr, flush=True
            )

    try:
        done = await export_log(client, options.out, opened=options.open, progress=progress)
    except OSError as failure:
        raise UsageError(
            f"{options.out}: {failure.strerror}", "give a folder that can be written"
        ) from failure
    print(f"log of {done.size} entries in {options.out}, {done.added} of them new")
    if done.unopened:
        print(f"{done.unopened} entries do not open: run `ribcage verify`")
    print(f"the log's key is {done.verifier_key}")


async def verify(client: GuardClient, options: argparse.Namespace) -> int:
    """Recompute everything; exit status 1 when anything differs."""

    def progress(part: str, checked: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{part}: {checked} checked", end="", file=sys.stderr, flush=True)

    report = await verify_home(client, options.home / "objects", progress, options.parts)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print_report(report)
    return 0 if report.clean else 1


def print_report(report: VerifyReport) -> None:
    """Counts, then every difference with its place."""
    print("checked: " + ", ".join(f"{part} {count}" for part, count in report.checked.items()))
    for each in report.differences:
        print(f"DIFFERENCE {each.part}: {each.where}: expected {each.expected}, found {each.found}")
    for name in report.strays:
        print(f"stray file (never acknowledged): {name}")
    print("verify: clean" if report.clean else f"verify: {len(report.differences)} differences")
