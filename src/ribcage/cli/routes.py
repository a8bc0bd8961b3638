"""`ribcage route`: which new instances are queued for which destination."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, get_args

import msgspec

from ribcage.cli.errors import UsageError
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    AddRoute,
    ListRoutes,
    Noted,
    Priors,
    PriorSame,
    RemoveRoute,
    RouteAdded,
    RouteConditions,
    RouteItems,
)

_OPTIONS = (
    ("modality", "modality", "for example CT"),
    ("from", "calling_ae_title", "the calling AE title"),
    ("device", "device", "the name of the registered device that sent it"),
    ("station", "station", "station name; * and ? stand for any characters"),
    ("description", "study_description", "study description; * and ? stand for any characters"),
    ("sop-class", "sop_class_uid", "SOP Class UID"),
    ("body-part", "body_part", "body part examined"),
)

_SAME = {
    "modality": "modality",
    "body-part": "body part",
    "both": "modality and body part",
    "either": "modality or body part",
}


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs about rules. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("route", help="what is sent on by itself").add_subparsers(
        dest="action", required=True
    )
    new = verb(actions, "add", "send new instances that meet all conditions to a destination", None)
    new.add_argument("--to", required=True, metavar="NAME", help="a destination's AE title")
    for option, field, text in _OPTIONS:
        new.add_argument(f"--{option}", dest=field, default="", help=text)
    new.add_argument("--all", action="store_true", help="every new instance: no condition")
    new.add_argument(
        "--priors", type=int, default=0, metavar="N", help="the patient's N latest earlier studies too"
    )
    new.add_argument(
        "--prior-years", type=int, default=0, metavar="Y", help="of them, those not older than Y years"
    )
    new.add_argument("--prior-same", choices=get_args(PriorSame), default="modality", help="what they share")
    new.set_defaults(run=with_guard(add))
    old = verb(actions, "remove", "end a rule; what is queued stays queued", with_guard(remove))
    old.add_argument("rule", type=int)
    verb(actions, "list", "the rules", with_guard(show))


async def add(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage route add --to NAME …`."""
    conditions = RouteConditions(**{field: getattr(options, field) for _, field, _ in _OPTIONS})
    if (conditions == RouteConditions()) != options.all:
        raise UsageError(
            "expected conditions, or --all and none", "ribcage route add --to NODE --modality CT"
        )
    if options.prior_years and not options.priors:
        raise UsageError(
            "expected a number of priors", "ribcage route add --to NODE --modality CT --priors 3"
        )
    priors = Priors(options.priors, options.prior_years, options.prior_same) if options.priors else None
    added = await client.call(AddRoute(options.to, conditions, priors), RouteAdded)
    print(f"rule {added.number}: new instances go to {options.to}")


async def remove(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage route remove RULE`."""
    await client.call(RemoveRoute(options.rule), Noted)
    print(f"rule {options.rule} removed, in force now")


async def show(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage route list`."""
    answer = await client.call(ListRoutes(), RouteItems)
    for item in answer.items:
        fields = msgspec.to_builtins(item.conditions)
        told = "  ".join(f"{name}={value}" for name, value in fields.items()) or "every new instance"
        print(f"{item.number:6} {item.ae_title:16} {told}{_priors(item.priors)}")
    print(f"{len(answer.items)} rules")


def _priors(priors: Priors | None) -> str:
    if priors is None:
        return ""
    age = f", at most {priors.years} years old" if priors.years else ""
    return f"  and {priors.count} priors of the same {_SAME[priors.same]}{age}"
