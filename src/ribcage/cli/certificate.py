"""`ribcage certificate renew`: the listeners' certificate, issued again by the home's own authority."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from ribcage.cli.errors import UsageError
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import CertificateRenewed, RenewCertificate


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs about the certificate. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("certificate", help="the listeners' certificate").add_subparsers(
        dest="action", required=True
    )
    one = verb(actions, "renew", "issue it again; running fronts take it at once", with_guard(renew))
    one.add_argument("--hostname", action="append", default=[], help="one DNS name more that peers use")
    one.add_argument("--address", action="append", default=[], help="one IP address more that peers use")


async def renew(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage certificate renew`."""
    try:
        request = RenewCertificate(options.hostname, options.address)
        renewed = await client.call(request, CertificateRenewed)
    except GuardRefused as refused:
        raise _explained(refused) from refused
    until = time.strftime("%Y-%m-%d", time.localtime(renewed.not_after))
    print(f"the listeners' certificate is new, until {until}, for {', '.join(renewed.names)}")
    print(f"SHA-256 {renewed.fingerprint.hex()}")
    print("running fronts show it to each new connection; who trusts the authority notices nothing")
    print("peers that pinned the old certificate, or registered it for C-MOVE, need this one")


def _explained(refused: GuardRefused) -> Exception:
    if refused.reason == "invalid":
        return UsageError(
            "the home's authority may not issue for one of these names or addresses",
            "use names below those given to `ribcage init`, and addresses of private networks",
        )
    if refused.reason == "conflict":
        return UsageError(
            "the home's authority has reached the end of its own term",
            "plan a new authority and new device certificates",
        )
    return refused
