"""`ribcage device list`, `show` and `describe`: what is known of the devices. None of it decides anything."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ribcage.cli.errors import UsageError
from ribcage.cli.moments import minute
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import DescribeDevice, DeviceItem, DeviceItems, ListDevices, Noted


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], device: Any) -> None:
    """The verbs, below `device`. `verb` and `with_guard` are the command line's own."""
    verb(device, "list", "all devices", with_guard(list_all))
    one = verb(device, "show", "all that is known of one", with_guard(show))
    one.add_argument("name")
    one = verb(device, "describe", "who looks after it, and where it stands", with_guard(describe))
    one.add_argument("name")
    one.add_argument("--owner", help="a department or firm, no person; '' takes it back")
    one.add_argument("--place", help="'' takes it back")


async def list_all(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage device list`."""
    for each in (await client.call(ListDevices(), DeviceItems)).items:
        state = "suspended" if each.suspended else f"until {minute(each.not_after)}"
        made = " ".join(filter(None, (each.manufacturer, each.model)))
        facts = [text for text in (each.owner, each.place, made) if text]
        print(
            f"{each.name:20} {','.join(each.ae_titles):16} {','.join(each.may)}; {'; '.join([state, *facts])}"
        )


async def show(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage device show NAME`. Raises UsageError where there is none."""
    items = (await client.call(ListDevices(), DeviceItems)).items
    found = next((each for each in items if each.name == options.name), None)
    if found is None:
        raise UsageError(f"no device is named {options.name}", "ribcage device list")
    for name, value in _lines(found):
        print(f"{name:18} {value}")


def _lines(each: DeviceItem) -> list[tuple[str, str]]:
    lines = [
        ("name", each.name),
        ("AE titles", ", ".join(each.ae_titles)),
        ("may", ", ".join(each.may) + (" (suspended)" if each.suspended else "")),
        ("department", each.department),
        ("fingerprint", each.fingerprint.hex()),
        ("certificate until", minute(each.not_after)),
        ("owner", each.owner or "-"),
        ("place", each.place or "-"),
    ]
    if not each.reported_at:
        return [*lines, ("its instances say", "nothing yet")]
    return [
        *lines,
        ("its instances say", f"since {minute(each.reported_at)}; nobody checked it"),
        ("manufacturer", each.manufacturer or "-"),
        ("model", each.model or "-"),
        ("serial number", each.serial_number or "-"),
        ("software versions", each.software_versions.replace("\\", ", ") or "-"),
    ]


async def describe(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage device describe NAME [--owner OWNER] [--place PLACE]`. Raises UsageError, GuardError."""
    if options.owner is None and options.place is None:
        raise UsageError("expected --owner or --place, got neither", "see `ribcage device describe --help`")
    await client.call(DescribeDevice(options.name, options.owner, options.place), Noted)
    print(f"device {options.name}: noted; `ribcage device show {options.name}`")
