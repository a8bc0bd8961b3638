"""`ribcage consent`: what a patient consents to, as the hospital attests it. 患者同意。"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, get_args

from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import ConsentItems, GetConsent, Noted, Purpose, SetConsent


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs of consent. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("consent", help="what a patient consents to").add_subparsers(
        dest="action", required=True
    )
    for name, text in (
        ("give", "the patient consents: it was signed elsewhere, and the hospital attests it"),
        ("withdraw", "the patient withdraws: in force at once"),
    ):
        one = verb(actions, name, text, with_guard(change))
        one.add_argument("patient", help="ID or ID|ISSUER")
        one.add_argument("--purpose", choices=get_args(Purpose), default="HRESCH")
    one = verb(actions, "show", "what was said last of each purpose", with_guard(show))
    one.add_argument("patient", help="ID or ID|ISSUER")


async def change(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage consent give|withdraw PATIENT`."""
    given = options.action == "give"
    await client.call(SetConsent(options.patient, options.purpose, given), Noted)
    print(
        f"consent to {options.purpose} {'given, attested' if given else 'withdrawn'}; in force now 立即生效"
    )


async def show(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage consent show PATIENT`."""
    answer = await client.call(GetConsent(options.patient), ConsentItems)
    for item in answer.items:
        word = "given 同意" if item.given else "withdrawn 撤回"
        print(f"{item.purpose:8} {word}, {item.state}, {minute(item.at)}, entry {item.entry}")
    if not answer.items:
        print("nothing was said: what needs consent is refused 无同意记录，需同意者一律拒绝")
