"""`kill -9` of everything, twenty times at random during ingest: what was acknowledged is there, bit for bit."""

from __future__ import annotations

import hashlib
import random
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from helpers.archive import Archive, Identity, new_archive
from helpers.raw_scu import AssociationFailed, RawAssociation
from ribcage.dicom import part10
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, Instance, instance_of

ROUNDS = 20
SENDERS = 4
SEED = 20_260_101
_PATIENCE_SECONDS = 30.0
_LARGE_ROWS = 420  # 420 x 420 x 2 bytes: a file of its own, not a small one


@dataclass
class Tally:
    """What senders were told. Thread-safe."""

    acknowledged: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # SOP Instance UID -> path, hash
    refused: list[int] = field(default_factory=list)
    sent: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def next_ordinal(self) -> int:
        with self.changed:
            self.sent += 1
            return self.sent

    def answered(self, one: Instance, status: int) -> None:
        with self.changed:
            if status == SUCCESS:
                self.acknowledged[one.uid] = (one.path, hashlib.sha256(one.data_set).digest())
            else:
                self.refused.append(status)
            self.changed.notify_all()

    def wait_for_more(self, count: int) -> None:
        """Until `count` more instances were acknowledged than now."""
        with self.changed:
            goal = len(self.acknowledged) + count
            assert self.changed.wait_for(lambda: len(self.acknowledged) >= goal, _PATIENCE_SECONDS)


def _small_and_large(ordinal: int) -> Instance:
    side = _LARGE_ROWS if ordinal % 9 == 0 else 16
    return instance_of(make_study(SEED, ordinal, side, side).file)


def _send_until_killed(archive: Archive, identity: Identity, tally: Tally) -> None:
    """One sender: new instances over one association until it breaks."""
    first = _small_and_large(tally.next_ordinal())
    proposals = [(first.sop_class, [first.transfer_syntax])]
    try:
        with RawAssociation(
            archive.dicom, proposals, ssl_context=identity.context(), calling=identity.ae_title
        ) as association:
            one = first
            while True:
                tally.answered(one, association.store(one.sop_class, one.uid, one.data_set))
                one = _small_and_large(tally.next_ordinal())
    except (AssociationFailed, OSError):
        return


def _fetch(archive: Archive, context: ssl.SSLContext, path: str) -> bytes:
    """The data set as it comes back to a registered device."""
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    url = f"https://localhost:{archive.https[1]}/dicom-web/{path}"
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        body = answer.read()
        boundary = answer.headers["Content-Type"].split("boundary=")[1].strip('"').encode()
    file = body.split(b"\r\n\r\n", 1)[1].split(b"\r\n--" + boundary)[0]
    return file[part10.split(file).prefix_bytes :]


def _nothing_lost(archive: Archive, context: ssl.SSLContext, tally: Tally, sample: list[str]) -> None:
    status = archive.ask(p.GetStatus(), p.Status)
    assert len(tally.acknowledged) <= status.instances <= tally.sent
    assert status.parked == 0
    report = archive.verify()
    assert report.clean, report.differences
    assert report.checked["objects"] == status.instances
    for uid in sample:
        path, digest = tally.acknowledged[uid]
        assert hashlib.sha256(_fetch(archive, context, path)).digest() == digest


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with new_archive(tmp_path) as running:
        yield running


@pytest.mark.slow
def test_kill_nine_during_ingest_loses_nothing_acknowledged(archive: Archive) -> None:
    dice = random.Random(SEED)
    modality = archive.device("modality", "MODALITY", "store")
    station = archive.device("station", "STATION", "retrieve")
    context = station.context()
    archive.grant("device:station", "department:radiology", "full")
    tally = Tally()
    for _ in range(ROUNDS):
        before = set(tally.acknowledged)
        senders = [
            threading.Thread(target=_send_until_killed, args=(archive, modality, tally))
            for _ in range(dice.randint(2, SENDERS))
        ]
        for sender in senders:
            sender.start()
        tally.wait_for_more(dice.randint(1, 25))
        archive.kill()
        for sender in senders:
            sender.join(_PATIENCE_SECONDS)
            assert not sender.is_alive()
        archive.start()
        new = sorted(set(tally.acknowledged) - before)
        old = sorted(before)
        _nothing_lost(archive, context, tally, new[-4:] + dice.sample(old, min(2, len(old))))
    assert not tally.refused
    _nothing_lost(archive, context, tally, sorted(tally.acknowledged))
    assert len(tally.acknowledged) >= ROUNDS
    assert not list((archive.home / "objects").rglob("*.tmp"))
