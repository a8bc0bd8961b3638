"""`ribcage care`: what the hospital's information system tells: relations, grants, staff numbers, shifts."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ribcage.cli.errors import UsageError
from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    CareItems,
    CareShift,
    EndShift,
    GrantItems,
    ListCare,
    ListGrants,
    Noted,
    SetShift,
    SetStaffNumber,
)


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of care relations. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("care", help="what the hospital's information system tells").add_subparsers(
        dest="action", required=True
    )
    verb(actions, "list", "visits and orders that stand", with_guard(listed))
    verb(actions, "grants", "grants in force, and which message made each", with_guard(grants))
    verb(actions, "staff", "shifts, and staff numbers that nobody registered has", with_guard(staff))
    number = verb(actions, "number", "the hospital's number of a person", with_guard(set_number))
    number.add_argument("name")
    number.add_argument("number", nargs="?", default="", help="none if not given")
    shift = verb(actions, "shift", "somebody works on a ward or in a department", with_guard(set_shift))
    shift.add_argument("number", help="staff number")
    shift.add_argument("ward")
    shift.add_argument("--from", dest="begin", default="", metavar="TIME", help="2026-01-31T07:00; now")
    shift.add_argument("--until", default="", metavar="TIME", help="without end if not given")
    end = verb(actions, "end-shift", "end a shift, at once", with_guard(end_shift))
    end.add_argument("shift", type=int)


async def listed(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage care list`."""
    items = await client.call(ListCare(), CareItems)
    for each in items.relations:
        until = f" until {minute(each.until)}" if each.until else ""
        where, who = ",".join(each.places) or "-", ",".join(each.staff) or "-"
        print(f"{each.sort:6} {each.number:16} {each.patient:16} {where:12} {who:20} {each.cause}{until}")
    print(f"{len(items.relations)} relations, {items.waiting} changes of grants to be made")


async def grants(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage care grants`."""
    items = (await client.call(ListGrants(), GrantItems)).items
    for each in items:
        cause = each.cause or "by hand"
        print(
            f"{each.grant_id:6} {each.subject:24} {each.resource:28} until {minute(each.valid_until)} {cause}"
        )
    print(f"{len(items)} grants, {sum(bool(each.cause) for each in items)} made by messages")


async def staff(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage care staff`."""
    items = await client.call(ListCare(), CareItems)
    for each in items.shifts:
        until = minute(each.ends_at) if each.ends_at else "without end"
        told = "by hand" if each.by_hand else "told"
        who = each.username or "nobody"
        print(
            f"{each.shift:6} {each.number:12} {who:16} {each.ward:12} {minute(each.begins_at)} - {until} {told}"
        )
    for number in items.unknown:
        print(f"unknown staff number {number}: nothing is granted; ribcage care number NAME {number}")


async def set_number(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage care number NAME [NUMBER]`."""
    await client.call(SetStaffNumber(options.name, options.number), Noted)
    print(f"{options.name} has staff number {options.number or '(none)'}")


async def set_shift(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage care shift NUMBER WARD [--from TIME] [--until TIME]`."""
    begin = _moment(options.begin) if options.begin else time.time()
    shift = CareShift(options.ward, begin, _moment(options.until) if options.until else 0.0)
    await client.call(SetShift(options.number, shift), Noted)
    print(f"{options.number} works on {options.ward}")


async def end_shift(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage care end-shift N`."""
    await client.call(EndShift(options.shift), Noted)
    print(f"shift {options.shift} has ended")


def _moment(text: str) -> float:
    """A local time. Raises UsageError."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"expected a time such as 2026-01-31T07:00, got {text!r}") from None
