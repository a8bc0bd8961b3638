"""`ribcage shield`: make a home the only door of an old PACS, and see whether that PACS answers.

Rules, in order:
1. A home that holds images is an archive and does not become a shield.
2. What is written is `settings.toml` and, where asked for, a file for nftables; nothing is loaded into the kernel.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ribcage.cli import settings
from ribcage.cli.errors import UsageError
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.guard.durable import write_file
from ribcage.guard.place import read_facts
from ribcage.transfer.limits import OldPacs
from ribcage.transfer.shield.errors import PacsError
from ribcage.transfer.shield.firewall import ruleset
from ribcage.transfer.shield.pacs import Pacs

_PORTS = (4242, 8042)  # Orthanc's
_SECONDS = 10.0


def add_verbs(verb: Callable[..., Any], verbs: Any) -> None:
    """The verbs. `verb` is the command line's own."""
    actions = verbs.add_parser("shield", help="stand before an old PACS").add_subparsers(
        dest="action", required=True
    )
    one = verb(actions, "init", "make this home the only door of a PACS", init)
    one.add_argument(
        "--pacs", required=True, metavar="ADDRESS:PORT", help="its DICOM listener, a literal address"
    )
    one.add_argument("--pacs-ae", required=True, help="its AE title")
    one.add_argument("--calling-ae", default="RIBCAGE", help="ours, as the PACS knows it")
    one.add_argument("--isolated", action="store_true", help="the PACS is on a private interface of its own")
    one.add_argument("--department", default="radiology", help="of the studies that it holds")
    one.add_argument("--firewall", type=Path, metavar="FILE", help="write rules for nftables")
    one.add_argument(
        "--port",
        type=int,
        action="append",
        default=[],
        help="another port of the PACS; 4242 and 8042 if not given",
    )
    one.add_argument(
        "--user", type=int, action="append", default=[], help="id of a user who may still call it"
    )
    verb(actions, "check", "ask the PACS by C-ECHO, as the shield does", check)


def init(options: argparse.Namespace) -> int:
    """Write the settings, and the firewall's file. Raises UsageError."""
    home: Path = options.home
    read_facts(home)
    if any((home / "objects").glob("*/*")):
        raise UsageError(
            "this home holds images: it is an archive", "make a home for the shield by `ribcage init`"
        )
    address, _, port = options.pacs.rpartition(":")
    if not address or not port.isdigit():
        raise UsageError(f"--pacs: expected ADDRESS:PORT, got {options.pacs}")
    shield = settings.Shield(
        address.strip("[]"),
        int(port),
        options.pacs_ae,
        options.calling_ae,
        options.isolated,
        options.department,
    )
    settings.save(home, msgspec.structs.replace(settings.load(home), shield=shield))
    print(f"this home is the shield of {shield.pacs_ae_title} now; `ribcage serve` opens the door")
    pacs = shield.pacs()
    if options.firewall is not None and pacs is not None:
        rules = ruleset(pacs, options.port or _PORTS, [os.getuid(), *options.user])
        write_file(options.firewall, rules.encode())
        print(f"look at {options.firewall}, then load it: nft -f {options.firewall}")
    else:
        print("the PACS still has its own doors: close them, or see --firewall")
    return 0


def check(options: argparse.Namespace) -> int:
    """C-ECHO. Raises UsageError where this home is no shield, or the PACS does not answer."""
    pacs = settings.load(options.home).shield.pacs()
    if pacs is None:
        raise UsageError("this home is no shield", "ribcage shield init --pacs ADDRESS:PORT --pacs-ae TITLE")
    try:
        asyncio.run(_echo(pacs))
    except (PacsError, TimeoutError) as failure:
        hint = "does it run, and does it know our AE title (calling_ae_title)?"
        raise UsageError(f"the PACS: {failure or 'no answer'}", hint) from failure
    print(f"{pacs.ae_title} answers at port {pacs.port}")
    return 0


async def _echo(pacs: OldPacs) -> None:
    way = Pacs(pacs, UpperLayerLimits())
    async with asyncio.timeout(_SECONDS):
        await way.echo()
    way.close()
