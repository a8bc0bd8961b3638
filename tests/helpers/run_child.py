"""Commands for supervisor tests: `guard HOME PASSPHRASE_FD READY_FD LIFELINE_FD`, `front HOME CONTROL_FD`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from ribcage.guard.home import open_core
from ribcage.guard.limits import GuardLimits
from ribcage.guard.server import GuardServer
from ribcage.transfer.front import run_front
from ribcage.transfer.limits import FrontLimits, FrontSettings


def guard(home: Path, passphrase: int, ready: int, lifeline: int) -> None:
    with os.fdopen(passphrase, "rb") as pipe:
        secret = pipe.read()
    core, provider = open_core(home, secret, GuardLimits())

    async def main() -> None:
        server = GuardServer(core, provider)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, server.stop)
        loop.add_reader(lifeline, lambda: (loop.remove_reader(lifeline), server.stop()))
        await server.serve(home / "run" / "guard.sock", lambda: os.write(ready, b"ready\n"))

    asyncio.run(main())


if __name__ == "__main__":
    kind, folder, *numbers = sys.argv[1:]
    if kind == "guard":
        guard(Path(folder), *map(int, numbers))
    else:
        place = Path(folder)
        limits = FrontLimits(drain_seconds=1.0, worker_threads=2)
        settings = FrontSettings(place / "run" / "guard.sock", place / "objects", limits=limits)
        run_front(int(numbers[0]), settings, None)
