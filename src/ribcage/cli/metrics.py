"""`ribcage metrics`: the guard's numbers as Prometheus text, for a file that node_exporter reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from ribcage.cli.operator import login
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import GetMetrics, Metrics, Operator
from ribcage.transfer.exposition import expose


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verb. `verb` and `with_guard` are the command line's own."""
    verb(verbs, "metrics", "the guard's numbers in the text format of Prometheus", with_guard(show))


async def show(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage metrics`."""
    told = await client.call(GetMetrics(principal=Operator(name=login())), Metrics)
    sys.stdout.write(expose(told).decode())
