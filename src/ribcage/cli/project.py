"""`ribcage project`: research projects, and who stands behind their pseudonyms (two persons)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args

from ribcage.cli.deid import add_choice, chosen_profile, deid_errors
from ribcage.cli.destroy import add_approver, read_approver
from ribcage.cli.errors import UsageError
from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    AddProject,
    ApproveReidentification,
    AskReidentification,
    CancelReidentification,
    EndProject,
    ListProjects,
    NamingReason,
    ProjectItem,
    ProjectItems,
    ProjectProfile,
    ReidentificationItem,
    ReidentificationItems,
    ReidentificationPage,
    Reidentified,
)


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of research. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("project", help="research projects").add_subparsers(
        dest="action", required=True
    )
    one = verb(actions, "add", "a project with a key of its own, in the guard", with_guard(add))
    one.add_argument("name", help="small letters, digits and hyphens")
    one.add_argument("--officer", required=True, metavar="PERSON", help="who may release to it")
    one.add_argument("--until", required=True, metavar="YYYY-MM-DD", help="its last day")
    add_choice(one)
    one = verb(actions, "end", "it gets nothing any more, at once", with_guard(end))
    one.add_argument("name")
    verb(actions, "list", "projects, their officers and numbers", with_guard(listed))
    _naming(verb, with_guard, actions)


def _naming(verb: Callable[..., Any], with_guard: Callable[..., Any], actions: Any) -> None:
    one = verb(actions, "reidentify", "first person: who stands behind a pseudonym?", with_guard(ask))
    one.add_argument("pseudonym", help="a patient's (P…) or a study's UID, as the project has it")
    one.add_argument("--project", required=True, metavar="NAME")
    one.add_argument("--reason", required=True, choices=get_args(NamingReason))
    add_approver(one)
    one = verb(actions, "reidentify-approve", "second person: is told who it is", with_guard(approve))
    one.add_argument("number", type=int)
    one.add_argument("pseudonym")
    add_approver(one)
    one = verb(actions, "reidentify-cancel", "take back what nobody approved", with_guard(cancel))
    one.add_argument("number", type=int)
    add_approver(one)
    verb(actions, "reidentify-list", "who was asked for, and what came of it", with_guard(named))


async def add(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage project add NAME --officer PERSON --until DAY [--profile P] [--option O]`."""
    with deid_errors():
        profile = chosen_profile(options)
    names = sorted(option.value.replace("_", "-") for option in profile.options)
    request = AddProject(
        options.name,
        ProjectProfile(profile.name, names, profile.unread, profile.digest),
        options.officer,
        _end_of(options.until),
    )
    item = await client.call(request, ProjectItem)
    print(f"project {item.name} added, until {minute(item.until)}; its key stays in the guard")
    print(f"next: ribcage grant project:{item.name} study:UID --view full --purpose HRESCH --hours N")


def _end_of(day: str) -> float:
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(hour=23, minute=59, second=59).timestamp()
    except ValueError as failure:
        raise UsageError("--until: expected a day as YYYY-MM-DD", "for example 2027-12-31") from failure


async def end(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage project end NAME`."""
    item = await client.call(EndProject(options.name), ProjectItem)
    print(f"project {item.name} ended; what it was given it has: {item.studies} studies")


async def listed(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage project list`."""
    answer = await client.call(ListProjects(), ProjectItems)
    for item in answer.items:
        over = item.ended_at or (item.until if item.until <= time.time() else 0.0)
        state = f"ended {minute(over)}" if over else f"until {minute(item.until)}"
        print(f"{item.name:20} {state}  {item.profile.name} {item.profile.digest}  officer {item.officer}  "
              f"{item.releases} releases, {item.studies} studies")  # fmt: skip
    print(f"{len(answer.items)} projects")


async def ask(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage project reidentify PSEUDONYM --project NAME --reason R`."""
    by = read_approver(options.approver_fd, "First person")
    request = AskReidentification(options.project, options.pseudonym, options.reason, by)
    item = await client.call(request, ReidentificationItem)
    print(
        f"asked for as number {item.number}; nobody is told anything until another person approves, within a day:"
    )
    print(f"ribcage project reidentify-approve {item.number} PSEUDONYM")


async def approve(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage project reidentify-approve N PSEUDONYM`."""
    by = read_approver(options.approver_fd, "Second person")
    request = ApproveReidentification(options.number, options.pseudonym, by)
    answer = await client.call(request, Reidentified)
    for patient in answer.patients:
        print(f"patient 患者: {patient}")
    for study in answer.studies:
        print(f"study 检查: {study}")
    print(f"entry {answer.log_index}; the patient sees that this was asked 患者可见此次查询")


async def cancel(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage project reidentify-cancel N`."""
    by = read_approver(options.approver_fd, "Who cancels")
    item = await client.call(CancelReidentification(options.number, by), ReidentificationItem)
    print(f"number {item.number} cancelled: nobody was told anything")


async def named(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage project reidentify-list`."""
    answer = await client.call(ReidentificationPage(), ReidentificationItems)
    for item in answer.items:
        at = minute(item.ended_at or item.asked_at)
        print(f"{item.number:6} {item.project:20} {item.state:10} {item.reason:18} {at}")
    print(f"{len(answer.items)} askings")
