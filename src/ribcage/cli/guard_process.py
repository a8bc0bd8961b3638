"""The guard of `ribcage serve`: `python -m ribcage.cli.guard_process`, started by the supervisor.

It loads what the guard needs and nothing that reads foreign bytes (`tests/system/test_sys_loaded.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

import uvloop

from ribcage.cli import settings
from ribcage.cli.errors import UsageError
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.memory import forbid_core_dumps, lock_memory
from ribcage.database.errors import DatabaseError, DatabaseFailing
from ribcage.guard.doubt import disk_failed
from ribcage.guard.errors import GuardError, GuardUnavailable
from ribcage.guard.home import open_core
from ribcage.guard.place import socket_path
from ribcage.guard.server import GuardServer
from ribcage.ledger.errors import LedgerError

_PASSPHRASE_BYTES = 4096
REFUSED = 3  # exit status: the home cannot be opened; starting again would not help


def main() -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(prog="ribcage-guard")
    parser.add_argument("--home", type=Path, required=True)
    for name in ("ready", "passphrase", "lifeline"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        return _guard(options)
    except UsageError as error:
        print(f"ribcage: {error}", file=sys.stderr)
        return REFUSED


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
        return os.EX_IOERR if isinstance(failure, DatabaseFailing) or disk_failed(failure) else REFUSED
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


if __name__ == "__main__":
    sys.exit(main())
