"""Work for the archive, and a diary of it: what was sent, and at which moment each answer was in the asker's hands.

A moment is a number that only grows: the recorder's position for power loss, a count of answers for `kill -9`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPException
from typing import TypeVar

from crash.ground import SEED, Ground
from helpers.archive import Archive
from helpers.guard_house import prove_operator
from helpers.raw_scu import AssociationFailed, RawAssociation
from ribcage.crypto import authority
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardError
from ribcage.oversight.studies import make_study
from system.senders import BOUNDARY, SUCCESS, Instance, instance_of, multipart

Moment = Callable[[], int]
NEVER = 1 << 62
_AGAIN_SECONDS = 0.02
_LARGE_ROWS = 800  # 800 x 800 x 2 bytes: sealed while it arrives, in two segments
_Answer = TypeVar("_Answer")


@dataclass
class Sent:
    """One instance on its way in."""

    one: Instance
    began: int
    answered: int = NEVER  # when success was in the sender's hands

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.one.data_set).digest()


@dataclass
class Deed:
    """A change of rights or of a session: `subject` is in the state `state` from `answered` on."""

    subject: str
    state: str  # of a device: known, granted, suspended; of a session: open, closed
    began: int
    answered: int = NEVER
    proof: bytes = b""  # of a session
    device: p.Device | None = None


@dataclass
class Diary:
    """Everything that was asked for and answered. Thread-safe."""

    moment: Moment
    sent: list[Sent] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, one: Instance) -> Sent:
        with self.changed:
            entry = Sent(one, self.moment())
            self.sent.append(entry)
            return entry

    def begin_deed(self, deed: Deed) -> None:
        with self.changed:
            deed.began = self.moment()
            self.deeds.append(deed)

    def stored(self, entry: Sent, status: int) -> None:
        with self.changed:
            if status == SUCCESS:
                entry.answered = self.moment()
            else:
                self.refused.append(f"C-STORE {status:04X}")
            self.changed.notify_all()

    def done(self, entry: Deed) -> None:
        with self.changed:
            entry.answered = self.moment()
            self.changed.notify_all()

    def wait_for_more(self, count: int, within_seconds: float) -> None:
        """Until `count` more instances were acknowledged than now."""
        with self.changed:
            goal = count + self._stored
            if not self.changed.wait_for(lambda: self._stored >= goal, within_seconds):
                raise TimeoutError(
                    f"{self._stored} of {goal} instances acknowledged; refused: {self.refused}"
                )

    @property
    def _stored(self) -> int:
        return sum(each.answered < NEVER for each in self.sent)

    def acknowledged(self, at: int) -> list[Sent]:
        """What was answered with success by then."""
        return [each for each in self.sent if each.answered <= at]

    def states(self, at: int) -> dict[str, Deed]:
        """The newest answered deed of each subject, left out where another one was under way."""
        known: dict[str, Deed] = {}
        for deed in self.deeds:
            if deed.answered <= at:
                known[deed.subject] = deed
            elif deed.began <= at:
                known.pop(deed.subject, None)
        return known

    def moments(self) -> list[int]:
        """When answers arrived, in order."""
        found = {each.answered for each in (*self.sent, *self.deeds)}
        return sorted(found - {NEVER})


def make_instances(ordinal: int, count: int) -> list[Instance]:
    """One study of `count` instances; every ninth study is large."""
    side = _LARGE_ROWS if ordinal % 9 == 0 else 16
    first = instance_of(make_study(SEED, ordinal, side, side).file)
    found = []
    for number in range(10, 10 + count):
        uid = first.uid[:-2] + str(number)
        old, new = first.uid.encode(), uid.encode()
        found.append(
            replace(
                first, uid=uid, file=first.file.replace(old, new), data_set=first.data_set.replace(old, new)
            )
        )
    return found


class Load:
    """Senders on several associations, a STOW-RS client and an operator, each in a thread of its own."""

    def __init__(self, archive: Archive, ground: Ground, diary: Diary, dice: random.Random) -> None:
        self._archive, self._ground, self._diary = archive, ground, diary
        self._context = ground.modality.context()
        elsewhere()  # now: no work waits for RSA keys
        self._label = f"{dice.randrange(1 << 32):08x}"
        self._threads: list[threading.Thread] = []
        self._enough = threading.Event()

    def start(self, studies: list[list[Instance]], senders: int, subjects: int) -> None:
        """Deal the studies out to the senders; the last hand goes by STOW-RS."""
        for number in range(senders):
            hand = studies[number::senders]
            self._run(self._stow if number == senders - 1 else self._associate, hand)
        self._run(self._operate, subjects)

    def stop(self) -> None:
        """No new association, request or subject."""
        self._enough.set()

    def join(self, within_seconds: float) -> None:
        """Wait for all of them."""
        for thread in self._threads:
            thread.join(within_seconds)
            if thread.is_alive():
                raise TimeoutError(f"{thread.name} hangs")

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=work.__name__, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _associate(self, studies: list[list[Instance]]) -> None:
        """One association for each study, again and again until it is stored, as modalities do."""
        for study in studies:
            while not self._enough.is_set():
                with contextlib.suppress(AssociationFailed, OSError):
                    self._one_association(study)
                    break
                self._enough.wait(_AGAIN_SECONDS)

    def _one_association(self, study: list[Instance]) -> None:
        proposals = [(study[0].sop_class, [study[0].transfer_syntax])]
        with RawAssociation(
            self._archive.dicom, proposals, ssl_context=self._context, calling="MODALITY"
        ) as association:
            for one in study:
                entry = self._diary.begin(one)
                while not self._enough.is_set():
                    status = association.store(one.sop_class, one.uid, one.data_set)
                    self._diary.stored(entry, status)
                    if status == SUCCESS:
                        break
                    self._enough.wait(_AGAIN_SECONDS)

    def _stow(self, studies: list[list[Instance]]) -> None:
        """One STOW-RS request for each study; one answer acknowledges all of its instances."""
        for study in studies:
            entries = [self._diary.begin(one) for one in study]
            while not self._enough.is_set():
                with contextlib.suppress(OSError, HTTPException):
                    self._one_request(study)
                    for entry in entries:
                        self._diary.stored(entry, SUCCESS)
                    break
                self._enough.wait(_AGAIN_SECONDS)

    def _one_request(self, study: list[Instance]) -> None:
        request = urllib.request.Request(
            f"https://localhost:{self._archive.https[1]}/dicom-web/studies",
            data=multipart(one.file for one in study),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}',
                "Accept": "application/dicom+json",
            },
        )
        try:
            with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            with error:
                self._diary.refused.append(f"STOW {error.code}")
                raise

    def _operate(self, subjects: int) -> None:
        """Each subject is a new one: what a killed guard left half done is asked of nobody."""
        todo = list(range(subjects))
        while todo and not self._enough.is_set():
            with contextlib.suppress(GuardError, OSError):
                asyncio.run(self._deeds(todo))
            self._enough.wait(_AGAIN_SECONDS)

    async def _deeds(self, todo: list[int]) -> None:
        """Devices, grants and revocations, suspensions, log-ins and log-outs."""
        socket = self._archive.home / "run" / "guard.sock"
        admin, front = await GuardClient.connect(socket), await GuardClient.connect(socket)
        try:
            await prove_operator(admin)
            while todo and not self._enough.is_set():
                number = todo.pop(0)
                await self._rights(admin, f"reader-{self._label}-{number}", ending=number % 3)
                if number < len(self._ground.persons):
                    await self._session(front, number)
        finally:
            await admin.close()
            await front.close()

    async def _rights(self, admin: GuardClient, name: str, ending: int) -> None:
        leaf = foreign_leaf(name)
        device = p.Device(leaf.fingerprint, name[-16:].upper(), "127.0.0.1")
        add = p.AddDevice(name, [device.ae_title], ["retrieve"], certificate_pem=leaf.pem)
        await self._deed(admin, Deed(name, "known", 0, device=device), add, p.DeviceAdded)
        grant = p.AddGrant(f"device:{name}", "department:radiology", "full")
        granted = await self._deed(admin, Deed(name, "granted", 0, device=device), grant, p.GrantAdded)
        if ending == 1:
            revoke = p.RevokeGrant(granted.grant_id)
            await self._deed(admin, Deed(name, "known", 0, device=device), revoke, p.Noted)
        if ending == 2:
            suspend = p.SuspendDevice(name, True)
            await self._deed(admin, Deed(name, "suspended", 0, device=device), suspend, p.Noted)

    async def _session(self, front: GuardClient, number: int) -> None:
        name, password = self._ground.persons[number]
        deed = Deed(f"session-{self._label}-{number}", "open", 0)
        logged = await self._deed(front, deed, p.LogIn(name, password, "127.0.0.1"), p.LoggedIn)
        deed.proof = logged.proof
        if number % 2:
            ended = Deed(deed.subject, "closed", 0, proof=logged.proof)
            await self._deed(front, ended, p.LogOut(p.Session(logged.proof, "127.0.0.1")), p.Noted)

    async def _deed(
        self, client: GuardClient, deed: Deed, request: p.Request, expected: type[_Answer]
    ) -> _Answer:
        self._diary.begin_deed(deed)
        answer = await client.call(request, expected)
        self._diary.done(deed)
        return answer


@functools.cache
def elsewhere() -> authority.Issued:
    """Another hospital's authority, made once (slow: RSA keys)."""
    return authority.make_root("Elsewhere", now=datetime.now(UTC))


def foreign_leaf(name: str) -> authority.CertificateInfo:
    """A device's own certificate from another authority."""
    leaf = authority.issue_client(elsewhere(), name, now=datetime.now(UTC), kind="ec")
    return authority.read_certificate(leaf.certificate_pem)
