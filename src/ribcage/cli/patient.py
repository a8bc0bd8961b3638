"""`ribcage patient`: whose study is whose. Two persons; a correction of names alone needs one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ribcage.cli.destroy import add_approver, read_approver
from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    ApproveIdentityChange,
    AskIdentityChange,
    CancelIdentityChange,
    IdentityChangeItem,
    IdentityChangeItems,
    IdentityChangePage,
)

_PATIENT = "ID or ID|ISSUER"


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of identity. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("patient", help="whose study is whose: two persons").add_subparsers(
        dest="action", required=True
    )
    one = verb(actions, "merge", "first person: two patients are one", with_guard(ask))
    one.add_argument("patient", help=f"who goes: {_PATIENT}")
    one.add_argument("into", help=f"who stays: {_PATIENT}")
    _asks(one, "merge")
    one = verb(actions, "unmerge", "first person: take a merge, move or split back", with_guard(ask))
    one.add_argument("undoes", type=int, metavar="NUMBER", help="of the change, as `patient list` shows it")
    _asks(one, "undo")
    one = verb(actions, "move-study", "first person: studies are another patient's", with_guard(ask))
    one.add_argument("into", help=f"whose they are: {_PATIENT}")
    one.add_argument("studies", nargs="+", help="Study Instance UIDs")
    _asks(one, "move")
    one = verb(
        actions, "split", "first person: studies are those of a patient who is new here", with_guard(ask)
    )
    one.add_argument("into", help=f"the new patient: {_PATIENT}")
    one.add_argument("studies", nargs="+", help="Study Instance UIDs")
    _names(one)
    _asks(one, "split")
    one = verb(actions, "correct", "a patient is named wrongly: one person, at once", with_guard(ask))
    one.add_argument("--patient", default="", help=f"in all studies of this patient: {_PATIENT}")
    one.add_argument("--study", action="append", dest="studies", default=[], help="in this study")
    _names(one)
    _asks(one, "correct")
    for name, text, run in (
        ("approve", "second person: it is done at once", approve),
        ("cancel", "take back what nobody approved", cancel),
    ):
        one = verb(actions, name, text, with_guard(run))
        one.add_argument("number", type=int)
        add_approver(one)
    verb(actions, "list", "changes of identity and their states", with_guard(listed))


def _asks(parser: Any, kind: str) -> None:
    add_approver(parser)
    parser.set_defaults(kind=kind)


def _names(parser: Any) -> None:
    parser.add_argument("--name", help="Patient's Name, as DICOM writes it: FAMILY^GIVEN")
    parser.add_argument("--birth-date", help="YYYYMMDD")
    parser.add_argument("--sex", choices=("M", "F", "O", ""))


async def ask(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage patient merge | unmerge | move-study | split | correct`."""
    by = read_approver(options.approver_fd, "First person")
    given = vars(options)
    request = AskIdentityChange(
        kind=options.kind,
        by=by,
        patient=given.get("patient", ""),
        into=given.get("into", ""),
        studies=given.get("studies", []),
        undoes=given.get("undoes", 0),
        patient_name=given.get("name"),
        patient_birth_date=given.get("birth_date"),
        patient_sex=given.get("sex"),
    )
    item = await client.call(request, IdentityChangeItem)
    if item.state == "done":
        print(f"change {item.number} done: {item.studies} studies")
        return
    print(f"change {item.number} asked for")
    print(f"nothing happens until another person approves: ribcage patient approve {item.number}")


async def approve(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage patient approve N`."""
    by = read_approver(options.approver_fd, "Second person")
    item = await client.call(ApproveIdentityChange(options.number, by), IdentityChangeItem)
    print(f"change {item.number} done: {item.studies} studies; originals are as they were")
    if item.kind != "undo":
        print(f"back: ribcage patient unmerge {item.number}")


async def cancel(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage patient cancel N`."""
    by = read_approver(options.approver_fd, "Who cancels")
    item = await client.call(CancelIdentityChange(options.number, by), IdentityChangeItem)
    print(f"change {item.number} cancelled: nothing happened")


async def listed(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage patient list`."""
    answer = await client.call(IdentityChangePage(), IdentityChangeItems)
    for item in answer.items:
        at = minute(item.ended_at or item.asked_at)
        of = f" of {item.undoes}" if item.undoes else ""
        print(f"{item.number:6} {item.kind + of:12} {item.state:10} {item.studies:6} studies  {at}")
    print(f"{len(answer.items)} changes")
