"""What must hold after a crash. Every finding is one line; no finding, no loss.

Rules, in order:
1. The home opens, and the guard finds nothing wrong with it.
2. What was acknowledged is there: listed, retrieved bit for bit by the real way out, found by a query, in the log.
3. Whatever is listed, acknowledged or not, is whole: nothing half-written is visible.
4. Acknowledged grants, revocations, suspensions, log-ins and log-outs are in force.
5. `verify` finds no difference (strays are allowed), and proofs of entries verify.
6. It starts a second time, holds the same, and stores again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from crash.ground import Ground, admit
from crash.load import Deed, Diary, make_instances
from helpers.archive import Archive
from helpers.guard_house import House, running
from ribcage.dicom import part10
from ribcage.evidence.proof import make_bundle
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.storage.objects import ObjectStore
from ribcage.usage.disclose import DisclosureError, WayOut, open_disclosure
from ribcage.usage.errors import NotAuthenticated, NothingFound, NotPermitted

_PAGE = 1000
_PROOFS = 2
_NEW_STUDY = 900_000
_PATIENCE_SECONDS = 15.0
_AGAIN_SECONDS = 0.02


@dataclass
class Verdict:
    """What was looked at, and what is wrong."""

    acknowledged: int = 0
    listed: int = 0
    deeds: int = 0
    losses: list[str] = field(default_factory=list)


async def judge(home: Path, ground: Ground, diary: Diary, at: int, dice: random.Random) -> Verdict:
    """Open `home` with real guards, twice, and look. Never raises for what a crash may have broken."""
    verdict = Verdict()
    try:
        async with running(home) as house:
            await _Look(home, ground, diary, at, verdict, house).all(dice)
            before = await house.admin.call(p.GetStatus(), p.Status)
        if not verdict.losses:
            await _second_start(home, ground, before, verdict, dice)
    except Exception as failure:
        verdict.losses.append(f"cannot be looked at: {type(failure).__name__}: {failure}")
    return verdict


class _Look:
    """One look through a running guard."""

    def __init__(
        self, home: Path, ground: Ground, diary: Diary, at: int, verdict: Verdict, house: House
    ) -> None:
        self._home, self._ground, self._diary, self._at = home, ground, diary, at
        self._house, self._verdict = house, verdict
        self._way = WayOut(house.front, ObjectStore(home / "objects"))
        self._expected = {each.one.uid: each for each in diary.acknowledged(at)}
        self._sent = {each.one.uid: each for each in diary.sent if each.began <= at}
        verdict.acknowledged = len(self._expected)

    async def all(self, dice: random.Random) -> None:
        """Rules 1 to 5."""
        status = await self._house.admin.call(p.GetStatus(), p.Status)
        self._lose(*(f"finding: {each}" for each in status.findings))
        if status.parked:
            self._lose(f"{status.parked} instances are parked")
        await self._retrieve()
        await self._query()
        await self._deeds()
        await self._audited(dice)
        self._lose(*(f"verify: {each.where}: {each.found}" for each in await self._house.verify()))

    def _lose(self, *what: str) -> None:
        self._verdict.losses += what

    async def _retrieve(self) -> None:
        whole = {self._ground.first.uid} | await self._study(self._ground.first.study)
        for study in sorted({each.one.study for each in self._sent.values()}):
            whole |= await self._study(study)
        self._verdict.listed = len(whole)
        self._lose(*(f"acknowledged and not there: {uid}" for uid in sorted(self._expected.keys() - whole)))

    async def _study(self, study: str) -> set[str]:
        """The instances that are listed, each retrieved whole."""
        found: set[str] = set()
        try:
            disclosure = await open_disclosure(self._way, self._ground.station_device, "dicomweb", study)
        except (NothingFound, NotPermitted):
            return found
        try:
            async with disclosure as out:
                for ref in out.instances:
                    stream = await out.instance_stream(ref)
                    digest = hashlib.sha256()
                    async for part in stream.data_set():
                        digest.update(part)
                    found.add(ref.sop_instance_uid)
                    sent = self._sent.get(ref.sop_instance_uid)
                    known = sent.digest if sent else hashlib.sha256(self._ground.first.data_set).digest()
                    if digest.digest() != known:
                        self._lose(f"not the same bits: {ref.sop_instance_uid}")
        except DisclosureError as failure:
            self._lose(f"listed and not whole: {study}: {type(failure).__name__}")
        return found

    async def _query(self) -> None:
        found: set[str] = set()
        more = True
        while more:
            query = p.Query(
                self._ground.station_device, "dicomweb", "instance", {}, limit=_PAGE, offset=len(found)
            )
            answer = await self._house.front.call(query, p.QueryAnswer)
            found |= {str(record.attributes["SOPInstanceUID"]) for record in answer.records}
            more = answer.more
        self._lose(*(f"not indexed: {uid}" for uid in sorted(self._expected.keys() - found)))
        self._lose(
            *(f"from nowhere: {uid}" for uid in sorted(found - self._sent.keys()) if not self._own(uid))
        )

    def _own(self, uid: str) -> bool:
        return uid == self._ground.first.uid

    async def _deeds(self) -> None:
        for deed in self._diary.states(self._at).values():
            self._verdict.deeds += 1
            state = await self._state(deed)
            if state != deed.state:
                self._lose(f"{deed.subject}: acknowledged as {deed.state}, is {state}")

    async def _state(self, deed: Deed) -> str:
        if deed.device is None:
            try:
                await self._house.front.call(p.WhoAmI(p.Session(deed.proof, "127.0.0.1")), p.Person)
            except GuardRefused:
                return "closed"
            return "open"
        try:
            async with await open_disclosure(self._way, deed.device, "dicomweb", self._ground.first.study):
                return "granted"
        except NotAuthenticated:
            return "suspended"
        except (NotPermitted, NothingFound):
            return "known"

    async def _audited(self, dice: random.Random) -> None:
        text: dict[int, str] = {}
        size = 1
        while len(text) < size:
            page = await self._house.admin.call(p.AuditPage(len(text), _PAGE), p.AuditEntries)
            if not page.entries:
                break
            size = page.size
            text |= dict(page.entries)
        everything = "\n".join(each for each in text.values() if "instance-stored" in each)
        for uid, each in self._expected.items():
            if each.digest.hex() not in everything:
                self._lose(f"not audited: {uid}")
        for index in dice.sample(sorted(text), min(_PROOFS, len(text))):
            try:
                proof = await self._house.admin.call(p.ProveEntry(index), p.EntryProof)
            except GuardError:
                self._lose(f"entry {index} cannot be proved")
                continue
            make_bundle(  # raises where the proof does not verify
                body=proof.body,
                salt=proof.salt,
                index=proof.index,
                path=proof.path,
                checkpoint=proof.checkpoint,
                verifier_key=proof.verifier_key,
            )


async def _second_start(
    home: Path, ground: Ground, before: p.Status, verdict: Verdict, dice: random.Random
) -> None:
    """Rule 6."""
    async with running(home) as house:
        status = await house.admin.call(p.GetStatus(), p.Status)
        if status.instances != before.instances or status.findings:
            verdict.losses.append(f"second start: {status.instances} instances, findings {status.findings}")
        (new,) = make_instances(_NEW_STUDY + dice.randrange(1000) * 9 + 1, 1)
        await admit(house, home, ground.modality, new)
        way = WayOut(house.front, ObjectStore(home / "objects"))
        async with await open_disclosure(way, ground.station_device, "dicomweb", new.study) as out:
            stream = await out.instance_stream(out.instances[0])
            stored = b"".join([part async for part in stream.data_set()])
        if stored != new.data_set:
            verdict.losses.append("storing again: other bits came back")


def judge_processes(archive: Archive, ground: Ground, diary: Diary, at: int, sample: int) -> Verdict:
    """The same through a running archive: HTTPS for the newest `sample` that were acknowledged, `verify` for all."""
    expected = diary.acknowledged(at)
    verdict = Verdict(acknowledged=len(expected))
    status = archive.ask(p.GetStatus(), p.Status)
    verdict.listed = status.instances
    verdict.losses += [f"finding: {each}" for each in status.findings]
    if not len(expected) <= status.instances <= 1 + len([s for s in diary.sent if s.began <= at]):
        verdict.losses.append(f"{len(expected)} acknowledged, {status.instances} indexed")
    report = archive.verify()
    verdict.losses += [f"verify: {each.where}: {each.found}" for each in report.differences]
    context = ground.station.context()
    for each in expected[-sample:]:
        try:
            if hashlib.sha256(_fetch(archive, context, each.one.path)).digest() != each.digest:
                verdict.losses.append(f"not the same bits: {each.one.uid}")
        except (OSError, HTTPException) as failure:
            verdict.losses.append(f"acknowledged and not there: {each.one.uid}: {failure}")
    return verdict


def _fetch(archive: Archive, context: ssl.SSLContext, path: str) -> bytes:
    """The data set as it comes back to a registered device."""
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    url = f"https://localhost:{archive.https[1]}/dicom-web/{path}"
    request = urllib.request.Request(url, headers={"Accept": accept})
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _data_set(request, context)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise
        threading.Event().wait(_AGAIN_SECONDS)  # a front that looks for its guard says: later


def _data_set(request: urllib.request.Request, context: ssl.SSLContext) -> bytes:
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        body = bytes(answer.read())
        boundary = answer.headers["Content-Type"].split("boundary=")[1].strip('"').encode()
    file = body.split(b"\r\n\r\n", 1)[1].split(b"\r\n--" + boundary)[0]
    return file[part10.split(file).prefix_bytes :]


def judged(home: Path, ground: Ground, diary: Diary, at: int, dice: random.Random) -> Verdict:
    """`judge`, from outside of a loop."""
    return asyncio.run(judge(home, ground, diary, at, dice))
