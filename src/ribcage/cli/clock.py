"""`ribcage clock accept`: the operator says that the clock is right, after a step."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import AcceptClock, Noted


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs about the clock. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("clock", help="the clock").add_subparsers(dest="action", required=True)
    verb(actions, "accept", "the clock is right as it is now, after a step", with_guard(accept))


async def accept(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage clock accept`."""
    await client.call(AcceptClock(), Noted)
    print("the time is accepted; the log says by how much it had moved")
