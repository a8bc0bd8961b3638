"""`ribcage conflict`: parked instances, listed without names, shown to a named person, destroyed by two."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ribcage.cli import commands
from ribcage.cli.destroy import add_approver, read_approver
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import ConflictShown, DiscardConflict, Noted, ShowConflict

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
    one = verb(actions, "discard", "destroy one for good: two persons", with_guard(discard))
    one.add_argument("number", type=int)
    add_approver(one)
    one.add_argument("--second-fd", type=int, metavar="N", help="the second person's, as --approver-fd")


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
