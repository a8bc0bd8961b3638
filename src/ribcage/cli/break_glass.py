"""`ribcage break-glass`: who opened films without a grant, ending that, and judging it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ribcage.cli.destroy import read_approver
from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    Alarm,
    Alarms,
    BreakGlassItem,
    BreakGlassItems,
    BreakGlassPage,
    BreakGlassShown,
    EndBreakGlass,
    GetAlarms,
    ReviewBreakGlass,
    ShowBreakGlass,
)

_WORDS = {
    "break-glass": "broke the glass, not reviewed yet 紧急访问，尚未复核",
    "break-glass-in-a-fault": "broke the glass while the archive could not decide 系统故障期间的紧急访问",
    "rejection": "a note hides instances: `ribcage rejection list` 有影像被拒收隐藏",
    "rejection-refused": "a rejection note was refused 拒收通知被拒绝",
    "reidentified": "two persons were told who stands behind a pseudonym 两人已获知假名对应的患者",
    "release-withdrawn": "the check of a release found something: withdrawn whole 发布核查发现问题，已整体撤回",
    "priors-too-many": "one sender pulls too many prior studies 同一来源触发过多历史检查转发",
    "break-glass-refused": "a break-glass was refused 紧急访问被拒绝",
    "break-glass-too-many": "one person broke the glass too often 同一人员紧急访问过于频繁",
    "certificates": "certificates of devices end soon: `ribcage doctor` 设备证书即将到期",
    "exposure": "this machine stands open: `ribcage doctor` 本机端口暴露",
    "emergency-journal-broken": "the emergency journal was changed on the disk 应急日志遭篡改",
}


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of break-glass. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("break-glass", help="access without a grant, and its review").add_subparsers(
        dest="action", required=True
    )
    verb(actions, "list", "who broke the glass, and what was said of it", with_guard(listed))
    for name, text, run in (
        ("show", "an officer or administrator reads what it was about", show),
        ("review", "an officer or administrator judges one", review),
    ):
        one = verb(actions, name, text, with_guard(run))
        one.add_argument("number", type=int)
        one.add_argument(
            "--approver-fd",
            type=int,
            metavar="N",
            help="read user name, password and code from descriptor N (JSON)",
        )
    one.add_argument("--verdict", choices=("justified", "unjustified"), required=True)
    one.add_argument("--comment", default="", metavar="TEXT", help="at most 200 characters, kept sealed")
    one = verb(actions, "end", "end one, at once", with_guard(end))
    one.add_argument("number", type=int)


async def listed(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage break-glass list`."""
    number, count = 0, 0
    while items := (await client.call(BreakGlassPage(number), BreakGlassItems)).items:
        for item in items:
            print(_line(item))
        number, count = items[-1].number + 1, count + len(items)
    print(f"{count} accesses")


def _line(item: BreakGlassItem) -> str:
    over = f"ended {minute(item.ended_at)}" if item.ended_at else f"until {minute(item.valid_until)}"
    fault = "  in a fault" if item.emergency else ""
    return (
        f"{item.number:6} {item.username:16} one {item.scope:8} {item.reason:20} {minute(item.occurred_at)} "
        f"{over}  {item.verdict or 'not reviewed'}{fault}"
    )


async def show(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage break-glass show N`."""
    by = read_approver(options.approver_fd, "Who reads")
    shown = await client.call(ShowBreakGlass(options.number, by), BreakGlassShown)
    for uid in shown.studies:
        print(f"study {uid}")
    print(f"note: {_printable(shown.note)}" if shown.note else "no note")
    if shown.comment:
        print(f"comment of the review: {_printable(shown.comment)}")


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


async def review(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage break-glass review N --verdict V`."""
    by = read_approver(options.approver_fd, "Who reviews")
    request = ReviewBreakGlass(options.number, options.verdict, by, options.comment)
    item = await client.call(request, BreakGlassItem)
    print(f"break-glass {item.number} is {item.verdict}: it stands in the log")


async def end(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage break-glass end N`."""
    item = await client.call(EndBreakGlass(options.number), BreakGlassItem)
    print(f"break-glass {item.number} ended: running streams were cut")


async def print_alarms(client: GuardClient) -> None:
    """The alarms that stand, for `ribcage status`."""
    for alarm in (await client.call(GetAlarms(), Alarms)).items:
        print(f"ALARM: {_alarm(alarm)}")


def _alarm(alarm: Alarm) -> str:
    about = {"exposure": "port", "certificates": "devices:"}.get(alarm.kind, "break-glass")
    named = f" ({about} {alarm.number})" if alarm.number >= 0 else ""
    return f"{minute(alarm.at)} {_WORDS[alarm.kind]}{named}"
