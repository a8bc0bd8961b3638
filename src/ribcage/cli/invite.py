"""`ribcage invite`: a patient's way to the list of who looked, as a link and a QR code.

The token stands in the link's fragment, which no browser sends to a server. The code is drawn here, beside whoever
asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import segno

from ribcage.cli import settings
from ribcage.cli.errors import UsageError
from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import InvitePatient, PatientInvited

_HTTPS_PORT = 443


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verb `invite`."""
    invite = verb(verbs, "invite", "invite a patient to see who looked", with_guard(invite_patient))
    invite.add_argument("patient", help="ID or ID|ISSUER")
    invite.add_argument("--days", type=int, default=7, help="how long it is good, 1 to 30")
    invite.add_argument("--out", type=Path, metavar="FILE.svg", help="a QR code to print; new, mode 0600")


async def invite_patient(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage invite PATIENT [--days N] [--out FILE.svg]`. Raises UsageError."""
    if options.out is not None and options.out.exists():
        raise UsageError(f"{options.out} exists", "give a new file")
    try:
        made = await client.call(InvitePatient(options.patient, options.days), PatientInvited)
    except GuardRefused as refused:
        if refused.reason != "conflict":
            raise
        raise UsageError(
            "the archive has no birth date for this patient, or several",
            "correct the studies at their source and send them again, then invite",
        ) from refused
    address = link(settings.load(options.home), made.token)
    code = segno.make(address, error="m", micro=False)
    until = minute(made.expires_at)
    print(f"good once, until 仅可使用一次，有效期至 {until}, with the birth date 并需出生日期:\n  {address}")
    if options.out is not None:
        options.out.touch(mode=0o600, exist_ok=False)
        code.save(str(options.out), kind="svg", scale=8)
        print(
            f"QR code in {options.out}: give it to the patient alone, then delete it 仅交给患者本人，然后删除"
        )
    if sys.stdout.isatty():
        code.terminal(compact=True)


def link(wanted: settings.Settings, token: str) -> str:
    """The page's address with the token in its fragment."""
    name = wanted.hostnames[0] if wanted.hostnames else "localhost"
    port = wanted.listen.https_port
    place = name if port == _HTTPS_PORT else f"{name}:{port}"
    return f"https://{place}/patient#{token}"
