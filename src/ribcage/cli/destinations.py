"""`ribcage destination`: where C-MOVE may send."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from ribcage.cli import settings
from ribcage.cli.errors import UsageError
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    AddDestination,
    DestinationItems,
    DestinationKnown,
    Hello,
    ListDestinations,
    Noted,
    RemoveDestination,
    SetDestinationRetry,
    ShowDestination,
    TlsIdentity,
)
from ribcage.transfer.dimse.echo import EchoFailed, echo
from ribcage.transfer.dimse.sender import Peer, pinned_context

_ECHO_SECONDS = 10.0


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs about destinations. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("destination", help="where C-MOVE may send").add_subparsers(
        dest="action", required=True
    )
    new = verb(actions, "add", "let C-MOVE send to a registered device", with_guard(add))
    new.add_argument("name", help="the AE title that C-MOVE names; bound to the device")
    new.add_argument("--device", required=True, help="a registered device that may retrieve")
    new.add_argument("--at", required=True, metavar="HOST:PORT", help="a literal, private IP address")
    old = verb(actions, "remove", "end a destination, at once", with_guard(remove))
    old.add_argument("name")
    again = verb(actions, "retry", "whether what a C-MOVE could not send is queued", with_guard(retry))
    again.add_argument("name")
    again.add_argument("setting", choices=("on", "off"))
    one = verb(actions, "check", "call a destination by C-ECHO, and say what fails", with_guard(check))
    one.add_argument("name")
    verb(actions, "list", "the destinations", with_guard(show))


async def add(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage destination add NAME --device D --at HOST:PORT`."""
    host, colon, port = options.at.rpartition(":")
    if not colon or not port.isdecimal():
        raise UsageError("--at: expected HOST:PORT", "for example 10.1.2.3:2762 or [fd00::7]:2762")
    address = host.removeprefix("[").removesuffix("]")
    await client.call(AddDestination(options.name, options.device, address, int(port)), Noted)
    print(f"destination {options.name}: device {options.device} at {options.at}")


async def remove(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage destination remove NAME`."""
    await client.call(RemoveDestination(options.name), Noted)
    print(f"destination {options.name} removed, in force now")


async def retry(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage destination retry NAME on|off`."""
    await client.call(SetDestinationRetry(options.name, options.setting == "on"), Noted)
    print(f"destination {options.name}: what a C-MOVE could not send is queued: {options.setting}")


async def check(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage destination check NAME`: TLS, certificate, AE titles and C-ECHO. Raises UsageError."""
    known = await client.call(ShowDestination(options.name), DestinationKnown)
    context = pinned_context(await client.call(Hello(os.getpid()), TlsIdentity))
    ours = min(settings.load(options.home).called_ae_titles)
    peer = Peer(known.address, known.port, known.fingerprint, options.name, ours)
    try:
        await echo(peer, context, UpperLayerLimits(idle_seconds=_ECHO_SECONDS))
    except EchoFailed as failed:
        raise UsageError(f"destination {options.name}: {failed}") from failed
    print(
        f"destination {options.name}: TLS with the registered certificate, association and C-ECHO: all well"
    )


async def show(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage destination list`."""
    answer = await client.call(ListDestinations(), DestinationItems)
    for item in answer.items:
        print(f"{item.ae_title:16} {item.device:20} {item.address} port {item.port}")
    print(f"{len(answer.items)} destinations")
