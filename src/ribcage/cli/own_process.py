"""This program in a process of its own, for the drill: its passphrase by an inherited descriptor, its end certain."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

MAIN = ("-c", "import sys; from ribcage.cli.main import main; sys.exit(main(sys.argv[1:]))")


class OwnProcess:
    """A server of this program: not running, or running since `start`."""

    def __init__(
        self,
        command: Sequence[str],
        program: Sequence[str] = MAIN,
        *,
        start_seconds: float,
        stop_seconds: float,
    ) -> None:
        """`command`: verb and options; `--passphrase-fd` is added. `program`: what the interpreter is told to run."""
        self._command = [sys.executable, *program, *command]
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, passphrase: bytes, errors: IO[bytes] | None = None) -> bytes:
        """Start it; its ready line, empty when none came in time (then call `stop`)."""
        reading, writing = os.pipe()
        os.write(writing, passphrase)
        os.close(writing)
        self._process = subprocess.Popen(  # noqa: S603 - this program itself
            [*self._command, "--passphrase-fd", str(reading)],
            pass_fds=(reading,),
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        os.close(reading)
        out = self._process.stdout
        return out.readline() if out and select.select([out], [], [], self._start_seconds)[0] else b""

    def stop(self) -> None:
        """SIGTERM, and wait; SIGKILL when that takes too long."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """SIGKILL to it and to every process it started."""
        if self._process is None:
            return
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self._reap()

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
