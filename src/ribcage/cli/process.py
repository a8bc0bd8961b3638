"""The processes of `ribcage serve`: `python -m ribcage.cli.process guard|front …`, started by the supervisor."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

import uvloop

from ribcage.cage import Cage
from ribcage.cli import settings
from ribcage.cli.errors import UsageError
from ribcage.cli.operator import socket_path
from ribcage.console.routes import console_routes
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.memory import forbid_core_dumps, lock_memory
from ribcage.database.errors import DatabaseError, DatabaseFailing
from ribcage.guard.doubt import disk_failed
from ribcage.guard.errors import GuardError, GuardUnavailable
from ribcage.guard.home import open_core
from ribcage.guard.server import GuardServer
from ribcage.ledger.errors import LedgerError
from ribcage.transfer.allocator import keep_buffers
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.serve import make_http_protocol
from ribcage.transfer.front import FrontRooms, HttpFactory, run_front
from ribcage.transfer.limits import FrontSettings

_PASSPHRASE_BYTES = 4096
_REFUSED = 3  # exit status: the home cannot be opened; starting again would not help


def main() -> int:
    """Entry point of guard and fronts."""
    parser = argparse.ArgumentParser(prog="ribcage-process")
    parser.add_argument("role", choices=("guard", "front"))
    parser.add_argument("--home", type=Path, required=True)
    for name in ("ready", "passphrase", "lifeline", "control"):
        parser.add_argument(f"--{name}", type=int, default=-1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if options.role == "front":
        _front(options)
        return 0
    return _guard(options)


def _guard(options: argparse.Namespace) -> int:
    forbid_core_dumps()
    lock_memory()
    os.umask(0o077)
    with os.fdopen(options.passphrase, "rb") as source:
        passphrase = source.read(_PASSPHRASE_BYTES)
    try:
        core, provider = open_core(options.home, passphrase, settings.load(options.home).guard_limits())
    except (GuardError, CryptoError, DatabaseError, LedgerError) as failure:
        print(f"ribcage: {failure}", file=sys.stderr)
        return os.EX_IOERR if isinstance(failure, DatabaseFailing) or disk_failed(failure) else _REFUSED
    server = GuardServer(core, provider)

    def ready() -> None:
        os.write(options.ready, b"ready\n")

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(options.lifeline, server.stop)  # it ends when the supervisor is gone
        server.stop_on_signals()
        await server.serve(socket_path(options.home), ready)

    try:
        uvloop.run(serve())
    except GuardUnavailable as failure:  # the entry of this very start did not become durable
        print(f"ribcage: {failure}", file=sys.stderr)
        return os.EX_IOERR
    return 0


def _front(options: argparse.Namespace) -> None:
    keep_buffers()
    wanted = settings.load(options.home)
    front = FrontSettings(
        guard_socket=socket_path(options.home),
        objects_folder=options.home / "objects",
        called_ae_titles=frozenset(wanted.called_ae_titles),
    )

    def make_http(rooms: FrontRooms) -> HttpFactory:
        context = WebContext(way_in=lambda: rooms.way_in, way_out=lambda: rooms.way_out, cage=Cage())
        return make_http_protocol(context, console_routes(context))

    run_front(options.control, front, make_http)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UsageError as error:
        print(f"ribcage: {error}", file=sys.stderr)
        sys.exit(_REFUSED)
