"""`ribcage deid check OUT --against IN`: an independent judgement of a release. Needs no archive.

Rules, in order:
1. Status 0: nothing was found; 1: the release is withdrawn; 2: usage.
2. Nothing printed shows an identity; a file whose name tells one is named by a digest.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from ribcage.cli.errors import UsageError, files_at
from ribcage.oversight.deid_check.checking import Report, check
from ribcage.oversight.deid_check.table import OPTIONS

_SHOWN = 200


def add_verb(actions: Any) -> None:
    """The verb, below `ribcage deid`."""
    parser = actions.add_parser("check", help="search a release for every identity of its originals")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder, ZIP or file that is to be released")
    parser.add_argument("--against", type=Path, required=True, metavar="IN", help="the originals")
    parser.add_argument(
        "--option",
        action="append",
        choices=[each.replace("_", "-") for each in OPTIONS],
        help="an option that was asked for; without any, the files' own method codes say",
    )
    parser.add_argument(
        "--basic", action="store_true", help="the basic profile was asked for, without options"
    )
    parser.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="processes; the machine's if not given"
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`ribcage deid check`. Raises UsageError for a path that is not there."""
    asked = frozenset(each.replace("-", "_") for each in options.option or ())
    if options.basic and asked:
        raise UsageError("--basic and --option exclude each other", "leave one of them out")
    for path in (options.out, options.against):
        if not path.exists():
            raise UsageError(f"{path} is not there", "give the release and, after --against, its originals")
    with files_at("the files cannot be listed"):
        report = check(
            options.out,
            options.against,
            options=asked if asked or options.basic else None,
            processes=options.jobs or os.cpu_count() or 1,
        )
    if options.json:
        print(json.dumps(report.json(), indent=1, ensure_ascii=False))
    else:
        _print(report)
    return 0 if report.passed else 1


def _print(report: Report) -> None:
    for each in report.findings[:_SHOWN]:
        offset = f" at byte {each.offset}" if each.offset >= 0 else ""
        named = f" [{each.identity}]" if each.identity else ""
        print(f"{each.kind}: {each.file}: {each.place or 'file'}{offset}: {each.text}{named}")
    if len(report.findings) > _SHOWN:
        print(f"… and {len(report.findings) - _SHOWN} more; --json lists all")
    for note in report.notes:
        print(f"note: {note}")
    counts, alike = report.counts, report.anonymity
    print(
        f"{counts['released']} files, {counts['pairs']} paired with {counts['originals']} originals;", end=" "
    )
    print(f"k = {alike['k']} over {alike['patients']} patients, {alike['alone']} alone")
    if report.passed:
        print("nothing found 未发现身份信息")
    else:
        print(f"WITHDRAWN: {len(report.findings)} findings. Do not release these files. 不得发布这些文件。")
