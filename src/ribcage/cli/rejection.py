"""`ribcage rejection`: notes that hide instances, and taking one back."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ribcage.cli.destroy import add_approver, read_approver
from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import RejectionItem, RejectionItems, RejectionPage, UndoRejection

_TITLES = {
    "113001": "quality",
    "113037": "patient safety",
    "113038": "wrong worklist entry",
    "113039": "retention expired",
}


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of rejections. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("rejection", help="notes that hide instances").add_subparsers(
        dest="action", required=True
    )
    verb(actions, "list", "notes and how many instances each hides", with_guard(listed))
    one = verb(actions, "undo", "show what a note hides: an officer or administrator", with_guard(undo))
    one.add_argument("number", type=int)
    add_approver(one)


async def listed(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage rejection list`."""
    number, count = 0, 0
    while items := (await client.call(RejectionPage(number), RejectionItems)).items:
        for item in items:
            title = f"{item.code} {_TITLES[item.code]}"
            print(
                f"{item.number:6} {minute(item.at)} {title:28} {item.instances:6} {item.state:9} {item.source}"
            )
        number, count = items[-1].number + 1, count + len(items)
    print(f"{count} notes")


async def undo(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage rejection undo N`."""
    by = read_approver(options.approver_fd, "Who takes it back")
    item = await client.call(UndoRejection(options.number, by), RejectionItem)
    print(f"rejection {item.number} undone: {item.instances} instances are shown again")
