"""`ribcage conflict`: parked instances, listed without names, shown to a named person, filed or destroyed by two."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ribcage.cli import commands
from ribcage.cli.destroy import add_approver, read_approver
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    ConflictFiled,
    ConflictShown,
    DiscardConflict,
    FileConflict,
    Noted,
    ShowConflict,
)

_SHOWN = (
    "patient_id", "issuer_of_patient_id", "patient_name", "patient_birth_date", "patient_sex",
    "study_instance_uid", "series_instance_uid", "sop_instance_uid", "study_date", "modality",
)  # fmt: skip


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of conflicts. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("conflict", help="instances that contradict what is held").add_subparsers(
        dest="action", required=True
    )
    one = verb(actions, "list", "conflicts that wait for a person", with_guard(commands.parked))
    one.add_argument("--count", type=int, default=100)
    one = verb(actions, "show", "what one says of itself; an entry says who looked", with_guard(show))
    one.add_argument("number", type=int)
    add_approver(one)
    one = verb(actions, "accept", "file one in the study that it names: two persons", with_guard(accept))
    _two(one)
    one = verb(actions, "attach", "file one in another study: two persons", with_guard(attach))
    _two(one)
    where = one.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--study", default="", metavar="UID", help="Study Instance UID of a study that is here"
    )
    where.add_argument(
        "--new-study", action="store_true", help="a study of its own, of the patient that it names"
    )
    one = verb(actions, "discard", "destroy one for good: two persons", with_guard(discard))
    _two(one)


def _two(parser: Any) -> None:
    parser.add_argument("number", type=int)
    add_approver(parser)
    parser.add_argument("--second-fd", type=int, metavar="N", help="the second person's, as --approver-fd")


async def show(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage conflict show N`."""
    by = read_approver(options.approver_fd, "Who looks")
    shown = await client.call(ShowConflict(options.number, by), ConflictShown)
    print(f"conflict {shown.ordinal}: {shown.reason}")
    for name in _SHOWN:
        print(f"  {name.replace('_', ' '):22} {getattr(shown.attributes, name)!r}")


async def discard(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage conflict discard N`."""
    by = read_approver(options.approver_fd, "First person")
    second = read_approver(options.second_fd, "Second person")
    await client.call(DiscardConflict(options.number, by, second), Noted)
    print(f"conflict {options.number} destroyed; make a new backup of the key store now")


async def accept(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage conflict accept N`."""
    await _file(client, options)


async def attach(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage conflict attach N --study UID | --new-study`."""
    await _file(client, options, options.study, options.new_study)


async def _file(
    client: GuardClient, options: argparse.Namespace, study: str = "", new_study: bool = False
) -> None:
    by = read_approver(options.approver_fd, "First person")
    second = read_approver(options.second_fd, "Second person")
    filed = await client.call(FileConflict(options.number, by, second, study, new_study), ConflictFiled)
    print(f"conflict {options.number} is part of study {filed.study_instance_uid} now")
    print(f"  series   {filed.series_instance_uid}")
    print(f"  instance {filed.sop_instance_uid}")
    print("what was held before is as it was; make a new backup of the key store now")
