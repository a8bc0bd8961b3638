"""A real guard on a real home in a temporary folder, with helpers that play front and operator."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import hashlib
import hmac
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import sqlalchemy as sa

from ribcage.crypto import authority
from ribcage.crypto.provider import Argon2Parameters, FileKeyProvider, operator_key
from ribcage.crypto.sealing import Envelope, Stream, seal
from ribcage.database.engine import open_engine
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.clock import boot_seconds
from ribcage.guard.home import HomePlan, create_home, open_core
from ribcage.guard.keyring import Keyring
from ribcage.guard.limits import GuardLimits
from ribcage.guard.place import read_facts
from ribcage.guard.server import GuardServer
from ribcage.storage.objects import ObjectStore

PASSPHRASE = b"correct horse battery staple"
CHEAP = Argon2Parameters(memory_kib=64, iterations=1, lanes=1)
PLAN = HomePlan("Test Hospital", cost=CHEAP)


@dataclass
class House:
    """One running guard."""

    home: Path
    server: GuardServer
    front: GuardClient
    admin: GuardClient
    pushed: list[p.Response] = field(default_factory=list)

    async def device(self, name: str, ae: str, may: list[str], **more: object) -> p.Device:
        if "csr_pem" not in more:
            more.setdefault("certificate_pem", _leaf(name))
        added = await self.admin.call(p.AddDevice(name=name, ae_titles=[ae], may=may, **more), p.DeviceAdded)
        return p.Device(fingerprint=added.fingerprint, ae_title=ae, address="127.0.0.1")

    async def person(self, username: str, *roles: str) -> p.PersonAdded:
        request = p.AddPerson(username=username, display_name=username.title(), roles=list(roles))
        return await self.admin.call(request, p.PersonAdded)

    async def session(self, username: str, password: str) -> p.Session:
        logged = await self.front.call(p.LogIn(username, password, "127.0.0.1"), p.LoggedIn)
        return p.Session(proof=logged.proof, address="127.0.0.1")

    async def store(
        self,
        device: p.Principal,
        attributes: p.Attributes,
        data: bytes,
        derivation: bytes = b"",
        rejection: p.RejectionNote | None = None,
    ) -> p.Committed | p.AlreadyHeld:
        """What a front does with one instance: seal and write with the keys it is given."""
        digest = hashlib.sha256(data).digest()
        admitted = await self.front.ask(
            p.Admit(
                principal=device,
                channel="dimse",
                called_ae_title="RIBCAGE",
                attributes=attributes,
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                data_set_sha256=digest,
                data_set_bytes=len(data),
                derivation=derivation,
                rejection=rejection,
            )
        )
        if isinstance(admitted, p.AlreadyHeld):
            return admitted
        assert isinstance(admitted, p.Admitted)
        envelope = Envelope(
            Stream.HEADER, admitted.epoch, admitted.hospital, admitted.key_id, admitted.object_id
        )
        sealed = seal(admitted.header_key, envelope, data)
        location = ObjectStore(self.home / "objects").write(admitted.object_id, [sealed])
        commit = p.Commit(
            admission=admitted.admission,
            location=location,
            file_bytes=len(sealed),
            header_plain_bytes=len(data),
            bulk_plain_bytes=0,
            prefix_bytes=0,
            header_sealed_bytes=len(sealed),
            bulk_sealed_bytes=0,
            file_sha256=digest,
        )
        return await self.front.call(commit, p.Committed)

    async def verify(self) -> list[p.Difference]:
        """All parts of `ribcage verify`."""
        found: list[p.Difference] = []
        for part in ("log", "ledger", "rows", "objects"):
            cursor = 0
            while cursor >= 0:
                request = p.VerifyRequest(part=part, cursor=cursor, count=500)
                answer = await self.admin.call(request, p.VerifyAnswer)
                found += answer.differences
                cursor = answer.cursor
        return found


def attributes(number: int = 1, **more: str) -> p.Attributes:
    """An instance of a made-up study; `more` overrides."""
    values = {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1",
        "sop_instance_uid": f"1.2.3.{number}.1",
        "study_instance_uid": f"1.2.3.{number}",
        "series_instance_uid": f"1.2.3.{number}.0",
        "patient_id": f"PID{number:06d}",
        "patient_name": "Muster^Erika",
        "study_date": "20260102",
        "modality": "CR",
        "accession_number": f"ACC{number}",
    }
    return p.Attributes(**(values | more))


_NEARLY_OVER = 26  # seconds of a half minute


class Clock:
    """A clock that tests may set forward: real time and `ahead` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def boot(self) -> float:
        """The kernel's count of seconds goes with it: time passes, the clock is not stepped."""
        return boot_seconds() + self.ahead


class Officer:
    """A person who approves: each approval takes the code of the next half minute, so that none is used twice."""

    def __init__(self, username: str, added: p.PersonAdded, clock: Callable[[], float]) -> None:
        self.username = username
        self.password = added.password
        self._totp = pyotp.parse_uri(added.totp_uri)
        self._clock = clock
        self._last = 0

    def approves(self) -> p.Approver:
        """Password and a fresh code; at most three in half a minute.

        Towards its end the oldest code could be too old when it is looked at: then the codes of the next ones are
        taken, and the third is waited for.
        """
        now = int(self._clock())
        step = max(now // 30 - (now % 30 < _NEARLY_OVER), self._last + 1)
        deadline = time.monotonic() + 30 - _NEARLY_OVER
        while step > int(self._clock()) // 30 + 1 and time.monotonic() < deadline:
            threading.Event().wait(0.1)
        self._last = step
        return p.Approver(self.username, self.password, self._totp.generate_otp(step))


async def prove_operator(client: GuardClient, passphrase: bytes = PASSPHRASE) -> None:
    challenge = await client.call(p.AdminChallenge(), p.AdminNonce)
    mac = hmac.digest(operator_key(passphrase, challenge.salt), challenge.nonce, "sha256")
    await client.call(p.AdminProof(name="test", mac=mac), p.Noted)


@contextlib.asynccontextmanager
async def running(
    home: Path, limits: GuardLimits | None = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[House]:
    """The guard of an existing home. `clock` in Unix seconds."""
    ObjectStore(home / "objects").prepare()
    boot = getattr(clock, "boot", boot_seconds)
    core, provider = open_core(home, PASSPHRASE, limits or GuardLimits(), clock, boot=boot)
    server = GuardServer(core, provider)
    ready = asyncio.Event()
    task = asyncio.create_task(server.serve(home / "run" / "guard.sock", ready.set))
    await asyncio.wait([task, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    pushed: list[p.Response] = []
    front = await GuardClient.connect(home / "run" / "guard.sock", pushed.append)
    admin = await GuardClient.connect(home / "run" / "guard.sock")
    await prove_operator(admin)
    try:
        yield House(home, server, front, admin, pushed)
    finally:
        await front.close()
        await admin.close()
        server.stop()
        await task


@functools.cache
def _template() -> Path:
    """A new home, made once (slow: RSA keys)."""
    folder = Path(tempfile.mkdtemp(prefix="ribcage-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    create_home(folder / "home", folder / "root", PASSPHRASE, PLAN)
    return folder / "home"


def new_home(folder: Path) -> Path:
    """`folder/home`: a copy of one new home."""
    return Path(shutil.copytree(_template(), folder / "home"))


@functools.cache
def _elsewhere() -> authority.Issued:
    return authority.make_root("Elsewhere", now=datetime.now(UTC))


@functools.cache
def _leaf(name: str) -> bytes:
    """A device's own certificate from another authority (quick: its key is on a curve)."""
    leaf = authority.issue_client(_elsewhere(), name, now=datetime.now(UTC), kind="ec")
    return authority.read_certificate(leaf.certificate_pem).pem


@contextlib.asynccontextmanager
async def new_house(
    folder: Path, limits: GuardLimits | None = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[House]:
    """A new home and its guard."""
    new_home(folder)
    async with running(folder / "home", limits, clock) as house:
        yield house


def at_database(home: Path, work: Callable[[sa.Connection], None]) -> None:
    """What somebody with the database's key does while the guard is down."""
    provider = FileKeyProvider.open(home / "keys" / "provider.json", PASSPHRASE)
    keyring = Keyring.open(home / "keys" / "keystore.db", provider, read_facts(home).hospital)
    engine = open_engine(home / "database" / "ribcage.db", keyring.service("database"))
    keyring.close()
    with engine.begin() as connection:
        work(connection)
    engine.dispose()


def edit(home: Path, statement: str, **values: object) -> int:
    """One statement `at_database`; how many rows it changed."""
    counts: list[int] = []
    at_database(
        home, lambda connection: counts.append(connection.execute(sa.text(statement), values).rowcount)
    )
    return counts[0]
