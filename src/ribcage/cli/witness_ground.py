"""A throw-away witness as a process of its own, for the drill."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from ribcage.cli.own_process import OwnProcess
from ribcage.crypto.provider import Argon2Parameters
from ribcage.evidence.note import VerifierKey
from ribcage.guard.protocol import TrustWitness
from ribcage.oversight.drill.target import TargetDown
from ribcage.oversight.witness.home import WitnessPlan, create_witness
from ribcage.oversight.witness.memory import WitnessMemory

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


class WitnessGround:
    """A witness that starts and stops with the archive under drill, always on one port."""

    def __init__(self, home: Path, cost: Argon2Parameters) -> None:
        self.home = home
        self._passphrase = secrets.token_urlsafe(32).encode()
        made = create_witness(home, self._passphrase, WitnessPlan(port=0, cost=cost))
        self._key, self._certificate = made.cosigner.key.encode(), made.fingerprint
        serve = ("witness", "serve", "--quiet", "--home", str(home))
        self._process = OwnProcess(serve, start_seconds=_START_SECONDS, stop_seconds=_STOP_SECONDS)
        self._port = 0

    def start(self) -> None:
        """Start and wait for the ready line. Raises TargetDown."""
        line = self._process.start(self._passphrase)
        if not line:
            self.stop()
            raise TargetDown("the witness did not start")
        self._port = int(json.loads(line)["https"][1])
        path = self.home / "witness.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"port": self._port}))

    def stop(self) -> None:
        """Stop it."""
        self._process.stop()

    def trust(self) -> TrustWitness:
        """What the archive's operator is told."""
        url = f"https://127.0.0.1:{self._port}"
        return TrustWitness(url=url, witness=self._key, certificate_sha256=self._certificate)

    def trust_log(self, key: str) -> None:
        """What the witness's administrator is told."""
        memory = WitnessMemory(self.home / "memory.db")
        memory.trust(VerifierKey.parse(key))
        memory.close()
