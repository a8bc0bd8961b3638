"""`ribcage deid holder` and `ribcage deid open`: who stands behind a pseudonym, for two holders together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ribcage.cli.errors import UsageError
from ribcage.usage.deid.table import make_holder, read_holder, read_table


def add_verbs(actions: Any, told: Any) -> None:
    """The verbs, below `ribcage deid`. `told` is its own way to tell errors."""
    one = actions.add_parser("holder", help="a key pair for one of the two holders of a table")
    one.add_argument("file", type=Path, metavar="FILE", help="the private key; FILE.pub is the public one")
    one.set_defaults(run=told(_holder))
    one = actions.add_parser("open", help="two holders: who stands behind a pseudonym")
    one.add_argument("table", type=Path, metavar="TABLE")
    one.add_argument("pseudonym", help="a patient's (P…) or a study's UID, as it was released")
    add_two(one, "--key", "a holder's private key; give both")
    one.set_defaults(run=told(_open))


def add_two(parser: Any, name: str, text: str) -> None:
    """An option that is given twice."""
    parser.add_argument(name, type=Path, action="append", default=[], metavar="FILE", help=text)


def two(paths: list[Path], kind: str) -> tuple[bytes, bytes]:
    """Keys of two holders. Raises UsageError, ProjectInvalid, OSError."""
    if len(paths) != 2:
        raise UsageError(
            f"expected two holders' {kind} keys, got {len(paths)}", "neither opens the table alone"
        )
    return read_holder(paths[0], kind), read_holder(paths[1], kind)


def _holder(options: argparse.Namespace) -> int:
    beside = make_holder(options.file)
    print(
        f"private key in {options.file}: its holder's alone, never beside the other's; public key in {beside}"
    )
    return 0


def _open(options: argparse.Namespace) -> int:
    lines = read_table(options.table, two(options.key, "private"))
    found = [line for line in lines if options.pseudonym in (line.pseudonym, line.study)]
    for line in found:
        issuer = f"|{line.behind.issuer}" if line.behind.issuer else ""
        print(f"patient 患者: {line.behind.patient_id}{issuer}  study 检查: {line.behind.study}")
    if not found:
        print("nobody of that pseudonym in this table 此表中没有该假名")
    return 0 if found else 1
