"""`kill -9` of the whole archive while a job is sent: it goes on where it stopped."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from pynetdicom import evt

from helpers.archive import Archive, Identity
from helpers.front_house import CT, EXPLICIT_LE, ct_slice
from helpers.queue_house import wait_for
from helpers.raw_scu import store
from helpers.retrieve_peers import STUDY, destination
from ribcage.crypto.authority import Issued
from ribcage.guard import protocol as p

_SECONDS = 30


class KilledAt:
    """A destination that has the archive killed before it answers for the named instances, once each."""

    def __init__(self, *uids: str) -> None:
        self._uids = list(uids)
        self.kept: list[str] = []
        self.reached, self.killed = threading.Event(), threading.Event()

    def __call__(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.kept.append(uid)
        if uid in self._uids:
            self._uids.remove(uid)
            self.killed.clear()
            self.reached.set()
            self.killed.wait(_SECONDS)
        return 0


def _issued(device: Identity) -> Issued:
    return Issued(device.certificate.read_bytes(), device.key.read_bytes())


def test_job_goes_on_after_kills_and_only_the_unanswered_instances_are_sent_again(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.settings = {
        "queue_lease_seconds": 1.0,
        "queue_first_seconds": 0.1,
        "queue_most_seconds": 0.5,
        "queue_tries": 100,
    }
    archive.create()
    archive.start()
    try:
        modality = archive.device("ct1", "CT1", "store")
        node = archive.device("node", "NODE", "retrieve")
        archive.grant("device:node", "department:radiology", "full")
        slices = [ct_slice(number) for number in range(1, 6)]
        uids = [uid for uid, _ in slices]
        answer = KilledAt(uids[1], uids[3])
        leaf, trusted = _issued(node), archive.authority.read_bytes()
        with destination("NODE", leaf, trusted, answer=answer) as (_, port):
            archive.ask(p.AddDestination("NODE", "node", "127.0.0.1", port), p.Noted)
            for uid, data in slices:
                context = modality.context()
                assert store(archive.dicom, context, "CT1", "RIBCAGE", CT, uid, EXPLICIT_LE, data) == 0
            job = archive.ask(p.QueueStudy(STUDY, "", "NODE"), p.Queued).job
            for _ in range(2):
                assert answer.reached.wait(_SECONDS)
                answer.reached.clear()
                archive.kill()
                answer.killed.set()
                archive.start()
            wait_for(lambda: archive.ask(p.ShowJob(job), p.JobShown).line.state in ("done", "failed"))
            shown = archive.ask(p.ShowJob(job), p.JobShown)
        assert (shown.line.state, shown.line.sent) == ("done", 5)
        assert Counter(answer.kept) == dict.fromkeys(uids, 1) | {uids[1]: 2, uids[3]: 2}
        assert archive.verify().differences == []
    finally:
        archive.stop()
