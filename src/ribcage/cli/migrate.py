"""`ribcage migrate pull|status|report`: everything of an old PACS into the archive, as a registered device.

`pull` and `status` need neither passphrase nor home: they run wherever both ends are reached. `report` asks
the guard.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ribcage.cli.errors import UsageError, files_at
from ribcage.evidence.migration_report import read_report
from ribcage.guard.client import GuardClient
from ribcage.guard.proof_file import bundle_of
from ribcage.guard.protocol import (
    EntryProof,
    MigrationItem,
    MigrationLines,
    MigrationPage,
    MigrationSeal,
    MigrationSealed,
    ProveEntry,
)
from ribcage.transfer.migration.archive import ArchiveDoor
from ribcage.transfer.migration.dicom_source import DicomSource
from ribcage.transfer.migration.errors import MigrationError
from ribcage.transfer.migration.journal import Journal, open_journal
from ribcage.transfer.migration.move_source import MoveSource
from ribcage.transfer.migration.pace import Hours, Pace
from ribcage.transfer.migration.peer import Peer, Pem, check_plain, parse_peer, receiving_context
from ribcage.transfer.migration.pull import Plan, pull
from ribcage.transfer.migration.receiver import Receiver
from ribcage.transfer.migration.source import Source
from ribcage.transfer.migration.web_source import WebSource

_MIB = 1 << 20
_PAGE_ITEMS = 500
_SHOW_SECONDS = 2.0


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs about migrations. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("migrate", help="bring an old PACS over").add_subparsers(
        dest="action", required=True
    )
    run = actions.add_parser("pull", help="fetch and store; run again to go on")
    _work(run)
    run.add_argument(
        "--from", dest="source", required=True, metavar="URL", help="dicoms://HOST:PORT/AETITLE …"
    )
    run.add_argument(
        "--to", required=True, metavar="HOST:PORT/AETITLE", help="the archive's DICOM TLS listener"
    )
    run.add_argument("--ae", required=True, help="our AE title, at both ends")
    run.add_argument(
        "--identity", type=Path, required=True, metavar="FOLDER", help="of `ribcage device add --out`"
    )
    run.add_argument(
        "--isolated", default="", metavar="ADDRESS", help="plain is allowed to this private address"
    )
    run.add_argument("--receive-at", default="", metavar="ADDRESS:PORT", help="for C-MOVE: our own listener")
    run.add_argument(
        "--isolated-here", default="", metavar="ADDRESS", help="it may be plain at this private address"
    )
    for name in ("certificate", "key", "authority"):
        run.add_argument(f"--source-{name}", type=Path, help=f"{name} towards the old PACS (PEM)")
    run.add_argument(
        "--dates", default="", metavar="FROM-TO", help="studies of these dates alone, YYYYMMDD-YYYYMMDD"
    )
    run.add_argument(
        "--at-once", type=int, default=2, choices=range(1, 17), metavar="N", help="workers, 1 to 16"
    )
    run.add_argument("--most-mib-per-second", type=float, default=0.0, metavar="N")
    run.add_argument(
        "--between", default="", metavar="HH:MM-HH:MM", help="begin studies in these hours alone"
    )
    run.add_argument(
        "--patience", type=float, default=60.0, metavar="SECONDS", help="how long to wait for a peer"
    )
    run.add_argument("--again", action="store_true", help="ask again for what was refused or did not come")
    run.set_defaults(run=_run(_pull))
    status = actions.add_parser("status", help="how far it is")
    _work(status)
    status.set_defaults(run=_run(_status))
    report = verb(actions, "report", "what arrived, judged and signed by the archive", with_guard(_report))
    _work(report)
    report.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for report and proof")


def _work(parser: Any) -> None:
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="the migration's journal")


def _run(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        with migration_errors():
            return command(options)

    return run


@contextlib.contextmanager
def migration_errors() -> Iterator[None]:
    """Failures of the room become one line and a hint."""
    try:
        yield
    except MigrationError as failure:
        raise UsageError(str(failure), failure.hint) from failure


def _pull(options: argparse.Namespace) -> int:
    ours = Pem(options.source_certificate, options.source_key, options.source_authority)
    source = parse_peer("the old PACS", options.source, ours, options.isolated)
    archive = parse_peer("the archive", f"dicoms://{options.to}", _identity(options.identity))
    pace = Pace(options.most_mib_per_second * _MIB, _hours(options.between))
    with (
        _receiver(source, ours, options) as receiver,
        contextlib.closing(open_journal(options.work, f"{source.scheme}:{source.path}")) as journal,
    ):
        plan = Plan(
            lambda: _source(source, options, receiver),
            lambda: ArchiveDoor(archive, options.ae),
            pace,
            1 if receiver else options.at_once,  # one receiving end
            options.patience,
        )
        if options.again:
            journal.open_failed()
        began, before = time.monotonic(), journal.progress().octets
        with _showing(journal):
            pull(plan, journal)
        seconds, moved = time.monotonic() - began, journal.progress().octets - before
        _print(journal)
        print(f"{moved / _MIB:.1f} MiB in {seconds:.1f} s; next: ribcage migrate report")
        done = journal.progress()
        return 1 if done.refused or done.missing else 0


def _status(options: argparse.Namespace) -> int:
    with contextlib.closing(open_journal(options.work)) as journal:
        _print(journal)
    return 0


async def _report(client: GuardClient, options: argparse.Namespace) -> int:
    """Write `report.txt`, `report.note` and `proof.json`; exit status 1 when something lacks."""
    with migration_errors(), contextlib.closing(open_journal(options.work)) as journal:
        sealed, numbers = await _sealed(client, journal, options.out)
    proof = await client.call(ProveEntry(index=sealed.log_index), EntryProof)
    bundle = bundle_of(proof)
    with files_at("the report cannot be written"):
        (options.out / "report.note").write_bytes(sealed.note)
        (options.out / "proof.json").write_bytes(bundle)
    document = read_report(sealed.note, proof.verifier_key)
    print(f"{'complete' if document['complete'] else 'NOT COMPLETE'}: {numbers} lines; {document['totals']}")
    print(f"entry {sealed.log_index}; the log's key is {proof.verifier_key}")
    print(f"python3 tools/verify_migration.py {options.out} --key KEY")
    return 0 if document["complete"] else 1


async def _sealed(client: GuardClient, journal: Journal, out: Path) -> tuple[MigrationSealed, int]:
    """The lines into `report.txt` as the guard judges them, page by page; then its signature."""
    report, written = b"", 0
    with files_at("the report cannot be written"):
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (out / "report.txt").open("wb") as file:
            for page in _pages(journal):
                answer = await client.call(MigrationPage(report, page), MigrationLines)
                report, written = answer.report, written + len(answer.lines)
                file.write("".join(f"{line}\n" for line in answer.lines).encode())
    unreadable, source = journal.meta("unreadable") or "0", journal.meta("source").partition(":")[0]
    return await client.call(MigrationSeal(report, source, int(unreadable)), MigrationSealed), written


def _pages(journal: Journal) -> Iterator[list[MigrationItem]]:
    """At least one, be it empty."""
    lines = journal.lines()
    while True:
        page = [
            MigrationItem(each.study_uid, each.announced, each.uid, each.sha256, each.reason)
            for each in itertools.islice(lines, _PAGE_ITEMS)
        ]
        yield page
        if len(page) < _PAGE_ITEMS:
            return


def _source(peer: Peer, options: argparse.Namespace, receiver: Receiver | None) -> Source:
    if peer.web:
        return WebSource(peer, options.dates)
    if receiver is not None:
        return MoveSource(peer, options.ae, options.dates, receiver)
    return DicomSource(peer, options.ae, options.dates)


@contextlib.contextmanager
def _receiver(peer: Peer, ours: Pem, options: argparse.Namespace) -> Iterator[Receiver | None]:
    """The receiving end of C-MOVE where it is asked for. Raises UsageError, MigrationError."""
    if not options.receive_at:
        yield None
        return
    host, colon, port = options.receive_at.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or peer.web:
        raise UsageError(
            "--receive-at: expected ADDRESS:PORT, with a DICOM source", "for example 127.0.0.1:11113"
        )
    context = None
    if peer.context is None:
        check_plain(host, options.isolated_here)
    else:
        context = receiving_context("the receiving end", ours)
    with contextlib.closing(Receiver((host, int(port)), peer, options.ae, context)) as receiver:
        yield receiver


def _identity(folder: Path) -> Pem:
    """The one certificate and key in a folder that `ribcage device add --out` wrote. Raises UsageError."""
    names = [path for path in sorted(folder.glob("*.crt")) if path.name != "ca.crt"]
    if len(names) != 1 or not names[0].with_suffix(".key").exists():
        raise UsageError(
            f"{folder}: expected ca.crt and one NAME.crt with its NAME.key",
            "ribcage device add NAME --ae AE --may store --out FOLDER",
        )
    return Pem(names[0], names[0].with_suffix(".key"), folder / "ca.crt")


def _hours(text: str) -> Hours:
    if not text:
        return Hours()
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", text)
    if not found:
        raise UsageError("--between: expected HH:MM-HH:MM", "for example 19:00-06:00")
    first_hour, first, last_hour, last = map(int, found.groups())
    return Hours(first_hour * 60 + first, last_hour * 60 + last)


def _print(journal: Journal) -> None:
    p = journal.progress()
    print(f"studies {p.done} of {p.studies} done; instances {p.acknowledged} of {p.listed} acknowledged, "
          f"{p.refused} refused, {p.missing} missing; {p.octets / _MIB:.1f} MiB")  # fmt: skip
    if unreadable := journal.meta("unreadable").strip("0"):
        print(f"{unreadable} answers of the old PACS named no study")


@contextlib.contextmanager
def _showing(journal: Journal) -> Iterator[None]:
    """One line of progress on a terminal, rewritten."""
    ended = threading.Event()

    def show() -> None:
        while not ended.wait(_SHOW_SECONDS):
            p = journal.progress()
            line = f"\r{p.done}/{p.studies} studies, {p.acknowledged} instances, {p.octets / _MIB:.0f} MiB"
            print(line, end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    if sys.stderr.isatty():
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()
            print(file=sys.stderr)
