"""`ribcage destroy`: two persons, time for second thoughts, a certificate that a stranger checks."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ribcage.cli.errors import UsageError
from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    ApproveDestruction,
    Approver,
    AskDestruction,
    CancelDestruction,
    Certificate,
    DestructionItem,
    DestructionItems,
    DestructionPage,
    GetCertificate,
    RunDestructions,
)

REASONS = ("retention-end", "request-of-patient", "wrong-patient", "contract-end")
_MOST_BYTES = 4096


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of destruction. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("destroy", help="destroy a study: two persons").add_subparsers(
        dest="action", required=True
    )
    one = verb(actions, "ask", "first person: ask for a study's destruction", with_guard(ask))
    one.add_argument("study", help="Study Instance UID")
    one.add_argument("--reason", choices=REASONS, required=True)
    add_approver(one)
    for name, text, run in (
        ("approve", "second person: close the study now, destroy it when it is due", approve),
        ("cancel", "take it back before it is due", cancel),
    ):
        one = verb(actions, name, text, with_guard(run))
        one.add_argument("number", type=int)
        add_approver(one)
    verb(actions, "list", "destructions and their states", with_guard(listed))
    verb(actions, "run", "execute what is due now; the guard does so once a day", with_guard(run_due))
    one = verb(actions, "certificate", "write a certificate of destruction", with_guard(certificate))
    one.add_argument("number", type=int)
    one.add_argument("--out", default="certificate.txt")


def add_approver(parser: Any) -> None:
    """The option by which a person proves themselves to a command that runs alone."""
    parser.add_argument(
        "--approver-fd",
        type=int,
        metavar="N",
        help="read user name, password and code from descriptor N (JSON)",
    )


def read_approver(descriptor: int | None, who: str) -> Approver:
    """A person's own proof, by JSON on a descriptor or asked at the terminal. Raises UsageError."""
    if descriptor is not None:
        try:
            with os.fdopen(os.dup(descriptor), "rb") as source:
                return msgspec.convert(msgspec.json.decode(source.read(_MOST_BYTES)), Approver)
        except (OSError, msgspec.MsgspecError) as failure:
            raise UsageError(
                f"descriptor {descriptor}: expected JSON with username, password and code",
                "each person gives their own",
            ) from failure
    if not sys.stdin.isatty():
        raise UsageError(f"{who}: there is no terminal to ask on", "use --approver-fd N")
    username = input(f"{who}, user name: ").strip()
    password = getpass.getpass("Password: ")
    return Approver(username, password, getpass.getpass("One-time code: ").strip())


async def ask(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage destroy ask STUDY --reason R`."""
    by = read_approver(options.approver_fd, "First person")
    item = await client.call(AskDestruction(options.study, options.reason, by), DestructionItem)
    print(f"destruction {item.number} asked for: {item.instances} instances")
    print(f"nothing happens until another person approves: ribcage destroy approve {item.number}")


async def approve(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage destroy approve N`."""
    by = read_approver(options.approver_fd, "Second person")
    item = await client.call(ApproveDestruction(options.number, by), DestructionItem)
    print(
        f"destruction {item.number} approved: the study is closed now and destroyed after {minute(item.due_at)}"
    )
    print(f"until then: ribcage destroy cancel {item.number}")


async def cancel(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage destroy cancel N`."""
    by = read_approver(options.approver_fd, "Who cancels")
    item = await client.call(CancelDestruction(options.number, by), DestructionItem)
    print(f"destruction {item.number} cancelled: the study is as it was")


async def listed(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage destroy list`."""
    answer = await client.call(DestructionPage(), DestructionItems)
    for item in answer.items:
        until = f"due {minute(item.due_at)}" if item.due_at else "waits for a second person"
        end = f"ended {minute(item.ended_at)}" if item.ended_at else until
        print(f"{item.number:6} {item.state:9} {item.reason:18} {item.instances:6} instances  {end}")
    print(f"{len(answer.items)} destructions")


async def run_due(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage destroy run`."""
    answer = await client.call(RunDestructions(), DestructionItems)
    for item in answer.items:
        print(f"destruction {item.number} done: ribcage destroy certificate {item.number}")
    print(
        f"{len(answer.items)} destroyed; make a new backup of the key store now"
        if answer.items
        else "nothing is due"
    )


async def certificate(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage destroy certificate N --out FILE`."""
    made = await client.call(GetCertificate(options.number), Certificate)
    Path(options.out).write_bytes(made.note)
    print(f"certificate in {options.out}; its hash stands in log entry {made.log_index}:")
    print(f"  ribcage audit prove {made.log_index}, then tools/verify_certificate.py")
    print(f"  the log's key is {made.verifier_key}")
