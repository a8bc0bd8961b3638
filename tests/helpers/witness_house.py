"""A real witness process on loopback, with its own home in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from helpers.guard_house import CHEAP
from ribcage.guard import protocol as p
from ribcage.oversight.witness.home import WitnessPlan, create_witness
from ribcage.oversight.witness.memory import Cosigned, WitnessMemory

WITNESS_PASSPHRASE = b"the witness has a passphrase of its own"
_MAIN = "import sys; from ribcage.cli.main import main; sys.exit(main(sys.argv[1:]))"


@dataclass
class WitnessProcess:
    """`ribcage witness serve`; the port stays the same over restarts."""

    home: Path
    key: str = ""
    fingerprint: bytes = b""
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def create(self) -> None:
        made = create_witness(
            self.home, WITNESS_PASSPHRASE, WitnessPlan("witness.example/1", port=0, cost=CHEAP)
        )
        self.key, self.fingerprint = made.cosigner.key.encode(), made.fingerprint

    def start(self) -> None:
        """Start and wait for the ready line."""
        read, write = os.pipe()
        os.write(write, WITNESS_PASSPHRASE)
        os.close(write)
        command = ["witness", "serve", "--quiet", "--home", str(self.home), "--passphrase-fd", str(read)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, *command], pass_fds=(read,), stdout=subprocess.PIPE
        )
        os.close(read)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the witness did not start"
        self.port = json.loads(line)["https"][1]
        facts = json.loads((self.home / "witness.json").read_text())
        (self.home / "witness.json").write_text(json.dumps({**facts, "port": self.port}))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def trust(self) -> p.TrustWitness:
        """What the archive's operator is told."""
        return p.TrustWitness(
            url=f"https://127.0.0.1:{self.port}", witness=self.key, certificate_sha256=self.fingerprint
        )

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`ribcage witness …` at this home."""
        command = [sys.executable, "-c", _MAIN, "witness", *words, "--home", str(self.home)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def history(self, origin: str) -> list[Cosigned]:
        memory = WitnessMemory(self.home / "memory.db")
        try:
            return memory.history(origin)
        finally:
            memory.close()
