"""`ribcage commitment`: reports of storage commitment, and which device has not heard them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    DropReport,
    Noted,
    ReportLine,
    ReportLines,
    ReportPage,
    RetryReport,
)

_PAGE = 500


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs about reports. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("commitment", help="reports of storage commitment").add_subparsers(
        dest="action", required=True
    )
    verb(actions, "list", "the reports, and what keeps one from its device", with_guard(show_all))
    for name, text, run in (
        ("retry", "deliver a report now, its tries counted anew", retry),
        ("drop", "forget a report; the device asks again", drop),
    ):
        one = verb(actions, name, text, with_guard(run))
        one.add_argument("report", type=int)


async def show_all(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage commitment list`."""
    start, total = 0, 0
    while True:
        page = await client.call(ReportPage(start, _PAGE), ReportLines)
        for report in page.reports:
            print(_line(report))
        total += len(page.reports)
        if len(page.reports) < _PAGE:
            break
        start = page.reports[-1].report + 1
    print(f"{total} reports")


async def retry(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage commitment retry REPORT`."""
    await client.call(RetryReport(options.report), Noted)
    print(f"report {options.report} is due now")


async def drop(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage commitment drop REPORT`."""
    await client.call(DropReport(options.report), Noted)
    print(f"report {options.report} forgotten; the device asks again")


def _line(report: ReportLine) -> str:
    later = ""
    if report.state == "waiting" and report.next_at > time.time():
        later = f", next at {time.strftime('%H:%M:%S', time.localtime(report.next_at))}"
    why = f" {report.refusal}" if report.refusal else ""
    committed = report.instances - report.failed
    return (
        f"{report.report:6} {report.state:8} {report.device:20} {report.ae_title:16} "
        f"{committed}/{report.instances} {minute(report.made_at)} tries {report.tries}{later}{why} "
        f"{report.transaction}"
    )
