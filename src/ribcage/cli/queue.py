"""`ribcage queue`: what waits to be sent to destinations, and what became of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, get_args

from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    DropJob,
    JobLine,
    JobShown,
    JobState,
    Noted,
    Queued,
    QueueLines,
    QueuePage,
    QueueStudy,
    RetryJob,
    ShowJob,
)

_PAGE = 500


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs about the queue. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("queue", help="what is sent to destinations").add_subparsers(
        dest="action", required=True
    )
    new = verb(actions, "send", "queue a study, as it is now, for a destination", with_guard(send))
    new.add_argument("--study", required=True, metavar="UID")
    new.add_argument("--series", default="", metavar="UID", help="this series of it alone")
    new.add_argument("--to", required=True, metavar="NAME", help="a destination's AE title")
    listed = verb(actions, "list", "the jobs; study UIDs are shown", with_guard(show_all))
    listed.add_argument("--state", choices=get_args(JobState), default="", help="only these")
    for name, text, run in (
        ("show", "one job with its instances", show_one),
        ("retry", "try a job now, its tries counted anew", retry),
        ("drop", "forget a job that is not being sent", drop),
    ):
        one = verb(actions, name, text, with_guard(run))
        one.add_argument("job", type=int)


async def send(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage queue send --study UID --to NAME`."""
    queued = await client.call(QueueStudy(options.study, options.series, options.to), Queued)
    print(f"job {queued.job}: {queued.instances} instances for {options.to}")


async def show_all(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage queue list`."""
    start, total = 0, 0
    while True:
        page = await client.call(QueuePage(start, _PAGE, options.state), QueueLines)
        for job in page.jobs:
            print(_line(job))
        total += len(page.jobs)
        if len(page.jobs) < _PAGE:
            break
        start = page.jobs[-1].job + 1
    print(f"{total} jobs")


async def show_one(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage queue show JOB`."""
    shown = await client.call(ShowJob(options.job), JobShown)
    print(_line(shown.line))
    for uid, arrived, status in shown.items:
        told = "arrived" if arrived else "waits"
        print(f"  {uid} {told}" + (f" (status {status:04X})" if status >= 0 else ""))


async def retry(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage queue retry JOB`."""
    await client.call(RetryJob(options.job), Noted)
    print(f"job {options.job} is due now")


async def drop(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage queue drop JOB`."""
    await client.call(DropJob(options.job), Noted)
    print(f"job {options.job} forgotten; what had arrived stays there")


def _line(job: JobLine) -> str:
    made = minute(job.made_at)
    why = f" {job.refusal}" if job.refusal else ""
    later = ""
    if job.state == "waiting" and job.next_at > time.time():
        later = f", next at {time.strftime('%H:%M:%S', time.localtime(job.next_at))}"
    return (
        f"{job.job:6} {job.state:8} {job.ae_title:16} {job.why:8} {job.sent}/{job.instances} {made} "
        f"tries {job.tries}{later}{why} {job.study_instance_uid}"
    )
