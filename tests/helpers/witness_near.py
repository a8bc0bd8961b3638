"""A witness in the test's own loop, and what a lying one may answer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from helpers.guard_house import CHEAP, House
from ribcage.crypto.memory import SecretFile
from ribcage.evidence.note import VerifierKey
from ribcage.guard import protocol as p
from ribcage.oversight.witness.home import WitnessHome, WitnessPlan, create_witness
from ribcage.oversight.witness.memory import WitnessMemory
from ribcage.oversight.witness.server import WitnessLimits, listen

PASSPHRASE = b"the witness has a passphrase of its own"


@dataclass
class Near:
    """A witness that listens, or would."""

    home: WitnessHome
    memory: WitnessMemory
    port: int = 0

    def trust(self, fingerprint: bytes = b"") -> p.TrustWitness:
        return p.TrustWitness(
            url=f"https://127.0.0.1:{self.port}",
            witness=self.home.cosigner.key.encode(),
            certificate_sha256=fingerprint or self.home.fingerprint,
        )

    async def befriend(self, house: House) -> None:
        """Both sides are told of each other."""
        answer = await house.admin.call(self.trust(), p.WitnessTrusted)
        self.memory.trust(VerifierKey.parse(answer.log))

    @contextlib.asynccontextmanager
    async def up(self, limits: WitnessLimits | None = None) -> AsyncIterator[None]:
        """Listening, always on the same port."""
        object.__setattr__(self.home, "port", self.port)
        server, factory = await listen(self.home, self.memory, limits)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await factory.drain(1.0)

    @contextlib.asynccontextmanager
    async def impostor(self, answer: Callable[[bytes], bytes]) -> AsyncIterator[list[bytes]]:
        """Somebody with the witness's TLS key at its port, but without its signing key; yields what it was asked."""
        asked: list[bytes] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with SecretFile(self.home.certificate_pem + self.home.tls_key_pem) as secret:
            context.load_cert_chain(secret.path)

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            said = answer(body)
            asked.append(body)
            writer.write(said)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(one, "127.0.0.1", self.port, ssl=context)
        try:
            yield asked
        finally:
            server.close()


def http(status: int, body: bytes, kind: str = "text/plain") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def new_witness(folder: Path) -> Near:
    """A fresh witness below `folder`."""
    plan = WitnessPlan("witness.example/1", port=0, cost=CHEAP)
    home = create_witness(folder / "witness", PASSPHRASE, plan)
    return Near(home, WitnessMemory(folder / "witness" / "memory.db"))


async def state(house: House) -> p.WitnessState:
    return (await house.admin.call(p.GetStatus(), p.Status)).witness


async def until(
    house: House, wanted: Callable[[p.WitnessState], bool], seconds: float = 20.0
) -> p.WitnessState:
    """Let the guard go on asking until its state is the wanted one."""
    loop = asyncio.get_running_loop()
    deadline, changed = loop.time() + seconds, asyncio.Event()
    while not wanted(now := await state(house)):
        assert loop.time() < deadline, now
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), 0.05)
    return now
