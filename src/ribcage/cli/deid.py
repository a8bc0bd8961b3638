"""`ribcage deid IN OUT …` and `ribcage deid explain FILE`: de-identification of files, without a server.

What was not released is named as the caller named it, with a reason; no value of any file is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ribcage.cli import deid_table
from ribcage.cli.errors import UsageError, files_at
from ribcage.usage.deid.anonymity import Anonymity, anonymity
from ribcage.usage.deid.batch import BatchLimits, Job, Outcome, entries, run, take_back
from ribcage.usage.deid.engine import Engine
from ribcage.usage.deid.errors import DeidError, NotReleased
from ribcage.usage.deid.profile import PACKAGED, Profile, packaged, parse
from ribcage.usage.deid.project import journal_of, project_key
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.table import Line, write_table
from ribcage.usage.deid.tables import EDITION
from ribcage.usage.deid.zipped import write_new_archive

_ACTIONS: Final = frozenset({"run", "explain", "check", "holder", "open", "-h", "--help"})
_SHOW_SECONDS: Final = 1.0


def main(arguments: list[str]) -> int:
    """Run `deid …` alone; returns the exit status: 0 all released, 1 something was not, 2 usage."""
    arguments = spelled_out(arguments)
    parser = argparse.ArgumentParser(prog="ribcage")
    actions = add_verbs(parser.add_subparsers(dest="verb", required=True))
    if arguments[1:2] not in (["run"], ["explain"]):
        from ribcage.cli import deid_check  # loads what the others need not

        deid_check.add_verb(actions)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except UsageError as error:
        print(f"ribcage: {error}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 2


def spelled_out(arguments: list[str]) -> list[str]:
    """`deid IN OUT` as `deid run IN OUT`; a folder called like an action is written `./check`."""
    if arguments[:1] == ["deid"] and arguments[1:] and arguments[1] not in _ACTIONS:
        return ["deid", "run", *arguments[1:]]
    return arguments


def add_verbs(verbs: Any) -> Any:
    """The verbs about de-identification; returns what takes more of them."""
    actions = verbs.add_parser("deid", help="files without the identity").add_subparsers(
        dest="action", required=True
    )
    one = actions.add_parser(
        "run", help="de-identify a file, a folder or a ZIP file (the word may be left out)"
    )
    one.add_argument("source", type=Path, metavar="IN")
    one.add_argument("out", type=Path, metavar="OUT", help="folder for what is released, or NAME.zip")
    add_choice(one)
    one.add_argument(
        "--project", type=Path, required=True, metavar="P", help="the project's folder, with its key"
    )
    one.add_argument(
        "--processes", type=int, default=0, metavar="N", help="as many as processors if not given"
    )
    one.add_argument(
        "--least-k", type=int, default=1, metavar="K", help="refuse where fewer than K patients look alike"
    )
    one.add_argument(
        "--table", type=Path, metavar="FILE", help="who is behind the pseudonyms, sealed to two holders"
    )
    deid_table.add_two(one, "--holder", "a holder's public key; give two")
    one.add_argument("--json", action="store_true", help="one JSON report")
    one.add_argument("--attributes", action="store_true", help="in the report: each attribute and its rule")
    one.set_defaults(run=_told(_run))
    one = actions.add_parser(
        "explain", help="each attribute of a file: what becomes of it, and by which rule"
    )
    one.add_argument("file", type=Path, metavar="FILE")
    add_choice(one)
    one.add_argument("--json", action="store_true")
    one.set_defaults(run=_told(_explain))
    deid_table.add_verbs(actions, _told)
    return actions


def add_choice(parser: Any) -> None:
    """The options that choose a profile."""
    parser.add_argument(
        "--profile", default=PACKAGED[0], metavar="NAME", help=f"{', '.join(PACKAGED)}, or a TOML file"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME", help="one more option of PS3.15 E.3"
    )


def _told(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def told(options: argparse.Namespace) -> int:
        with deid_errors(), files_at("files"):
            return command(options)

    return told


@contextlib.contextmanager
def deid_errors() -> Iterator[None]:
    """What this room raises as one line and a hint."""
    try:
        yield
    except DeidError as failure:
        raise UsageError(str(failure), failure.hint) from failure


def chosen_profile(options: argparse.Namespace) -> Profile:
    """What `add_choice` chose. Raises DeidError, OSError."""
    name = options.profile
    chosen = parse(Path(name).read_text(encoding="utf-8")) if name.endswith(".toml") else packaged(name)
    return chosen.also(options.option)


def _run(options: argparse.Namespace) -> int:
    _apart(options.source, options.out, options.project)
    holders = _holders(options)
    limits = BatchLimits()
    found = entries(options.source, limits)
    if not found:
        raise UsageError("expected files to de-identify, found none")
    zipped = options.out.suffix.lower() == ".zip"
    job = Job(
        profile=chosen_profile(options),
        key=project_key(options.project),
        out=options.out.with_name(f".{options.out.name}.unzipped") if zipped else options.out,
        trace=options.attributes,
        limits=limits,
        named=holders is not None,
    )
    processes = options.processes if options.processes > 0 else len(os.sched_getaffinity(0))
    outcomes = run(job, found, journal_of(options.project), processes, _progress())
    alike = anonymity(job.out, outcomes)
    if alike.patients and alike.smallest < options.least_k:
        take_back(job.out, outcomes)
        raise UsageError(
            f"expected {options.least_k} patients or more in each class, got one of {alike.smallest}: nothing left",
            "\n".join(["take a coarser profile or more patients", *alike.small_lines()]),
        )
    if holders is not None:
        write_table(options.table, *holders, _lines(outcomes))
    if zipped:
        write_new_archive(options.out, job.out)
    return _tell(options, job, outcomes, alike)


def _holders(options: argparse.Namespace) -> tuple[bytes, bytes] | None:
    """Whose table it is; known before anything is worked on. Raises UsageError."""
    if options.table is None:
        return None
    if options.table.exists() or options.out.resolve() in options.table.resolve().parents:
        raise UsageError("expected --table as a new file outside OUT", "whoever gets OUT must not get it")
    return deid_table.two(options.holder, "public")


def _lines(outcomes: list[Outcome]) -> Iterator[Line]:
    for outcome in outcomes:
        if outcome.reason is None and outcome.behind is not None:
            pseudonym, study = Path(outcome.output).parts[:2]
            yield Line(pseudonym, study, outcome.behind)


def _tell(options: argparse.Namespace, job: Job, outcomes: list[Outcome], alike: Anonymity) -> int:
    """What came of it; the status."""
    refused = [outcome for outcome in outcomes if outcome.reason is not None]
    if options.json:
        print(json.dumps(_report(job, outcomes, alike), ensure_ascii=False))
        return 1 if refused else 0
    for outcome in refused:
        print(
            f"not released: {outcome.index} {outcome.name}: {outcome.reason.value if outcome.reason else ''}"
        )
    print(f"{len(outcomes) - len(refused)} of {len(outcomes)} released by {job.profile.name} ({EDITION})")
    print("\n".join(alike.lines()))
    return 1 if refused else 0


def _report(job: Job, outcomes: list[Outcome], alike: Anonymity) -> dict[str, Any]:
    """The whole run as JSON (docs/deid.md)."""
    counts = Counter("released" if one.reason is None else one.reason.name.lower() for one in outcomes)
    return {
        "edition": EDITION,
        "profile": job.profile.name,
        "options": sorted(option.value.replace("_", "-") for option in job.profile.options),
        "unread_pixels": job.profile.unread,
        "digest": job.profile.digest,
        "counts": dict(sorted(counts.items())),
        "anonymity": alike.as_json(),
        "files": [_row(outcome) for outcome in outcomes],
    }


def _row(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"index": outcome.index, "file": outcome.name, "released": outcome.reason is None}
    if outcome.reason is None:
        row["output"] = outcome.output
    else:
        row["reason"], row["text"] = outcome.reason.name.lower(), outcome.reason.value
    if outcome.trace:
        row["attributes"] = [one._asdict() for one in outcome.trace]
    return row


def _explain(options: argparse.Namespace) -> int:
    engine = Engine(chosen_profile(options), Pseudonyms(secrets.token_bytes(32)))
    try:
        released = engine.release(options.file.read_bytes(), trace=True)
    except NotReleased as refusal:
        print(f"not released: {refusal}")
        return 1
    if options.json:
        print(json.dumps([one._asdict() for one in released.trace], ensure_ascii=False))
        return 0
    for one in released.trace:
        print(f"{one.did:<9} {one.path} {one.keyword}: {one.rule}")
    return 0


def _apart(source: Path, out: Path, project: Path) -> None:
    """Input, output and project are not inside one another. Raises UsageError."""
    places = {"IN": source.resolve(), "OUT": out.resolve(), "the project": project.resolve()}
    for name, place in places.items():
        for other, above in places.items():
            if name != other and (place == above or above in place.parents):
                raise UsageError(
                    f"expected {name} apart from {other}, got one inside the other", "choose another folder"
                )


def _progress() -> Callable[[int, int], None]:
    shown = time.monotonic()

    def progress(done: int, size: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and time.monotonic() - shown > _SHOW_SECONDS:
            shown = time.monotonic()
            print(f"\r{done} of {size}", end="", file=sys.stderr, flush=True)

    return progress
