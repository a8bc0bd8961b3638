"""A front of `ribcage serve`: `python -m ribcage.cli.front_process`, started by the supervisor.

It loads neither database nor ledger, and no codec (`tests/system/test_sys_loaded.py`).
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from ribcage.cage import Cage
from ribcage.cli import settings
from ribcage.cli.errors import UsageError
from ribcage.console.routes import console_routes
from ribcage.guard.place import socket_path
from ribcage.transfer.allocator import keep_buffers
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.serve import make_http_protocol
from ribcage.transfer.front import FrontRooms, HttpFactory, run_front
from ribcage.transfer.limits import FrontSettings

_REFUSED = 3  # exit status: starting again would not help


def main() -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(prog="ribcage-front")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--control", type=int, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        _front(options.home, options.control)
    except UsageError as error:
        print(f"ribcage: {error}", file=sys.stderr)
        return _REFUSED
    return 0


def _front(home: Path, control: int) -> None:
    keep_buffers()
    wanted = settings.load(home)
    front = FrontSettings(
        guard_socket=socket_path(home),
        objects_folder=home / "objects",
        called_ae_titles=frozenset(wanted.called_ae_titles),
        pacs=wanted.shield.pacs(),
        own_authorities=frozenset(wanted.own_authorities),
    )

    def make_http(rooms: FrontRooms) -> HttpFactory:
        context = WebContext(way_in=lambda: rooms.way_in, way_out=lambda: rooms.way_out, cage=Cage())
        return make_http_protocol(context, console_routes(context))

    run_front(control, front, make_http)


if __name__ == "__main__":
    sys.exit(main())
