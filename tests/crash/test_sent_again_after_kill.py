"""Acknowledged, the guard killed, sent again, acknowledged again, power lost: held once, whole, within a deadline."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from crash.disk import Disk
from crash.ground import Ground
from crash.judge import judged
from crash.kills import kill_one
from crash.load import Diary, make_instances
from crash.power import SYNC_MICROSECONDS
from crash.recorder import Recorder
from helpers.archive import Archive
from helpers.raw_scu import AssociationFailed, RawAssociation
from system.senders import SUCCESS, Instance

INSTANCES = 4
DEADLINE_SECONDS = 60.0  # of everything that is sent
_SOCKET_SECONDS = 10.0
_AGAIN_SECONDS = 0.1


def _send_all(archive: Archive, ground: Ground, diary: Diary, study: list[Instance], deadline: float) -> None:
    """Until each is acknowledged, as a modality does. Raises TimeoutError after the deadline."""
    waiting = list(study)
    while waiting:
        try:
            with RawAssociation(
                archive.dicom,
                [(study[0].sop_class, [study[0].transfer_syntax])],
                ssl_context=ground.modality.context(),
                calling="MODALITY",
                timeout_seconds=_SOCKET_SECONDS,
            ) as association:
                for one in list(waiting):
                    entry = diary.begin(one)
                    status = association.store(one.sop_class, one.uid, one.data_set)
                    diary.stored(entry, status)
                    if status == SUCCESS:
                        waiting.remove(one)
        except (AssociationFailed, OSError):
            pass
        if waiting and time.monotonic() > deadline:
            raise TimeoutError(f"{len(waiting)} not acknowledged; refused: {diary.refused}")
        if waiting:
            threading.Event().wait(_AGAIN_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize("losses", [1, pytest.param(INSTANCES, marks=pytest.mark.soak)])
def test_instance_sent_again_after_the_guards_death_survives_power_loss(
    ground: Ground, library: Path, place: Path, losses: int
) -> None:
    """The power goes at the very moment of a second answer, which wrote nothing itself."""
    folder = place / f"sent-again-{losses}"
    folder.mkdir()
    home = ground.copy_to(folder)
    disk, recorder = Disk(home), Recorder(library, home, folder / "trace", SYNC_MICROSECONDS)
    archive = Archive(folder, fronts=1, environment=recorder.environment)
    diary = Diary(lambda: recorder.position)
    study = make_instances(700, INSTANCES)
    archive.start()
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        _send_all(archive, ground, diary, study, deadline)
        killed_at = recorder.position
        kill_one(archive, "guard", random.Random(1))
        _send_all(archive, ground, diary, study, deadline)
    finally:
        archive.stop()
        recorder.close()
    records, done, dice = recorder.records(), 0, random.Random(3)
    again = sorted(each.answered for each in diary.acknowledged(len(records)) if each.answered > killed_at)
    assert len(again) == INSTANCES
    for position in sorted(set(again))[-losses:]:  # two answers may stand between the same writes
        disk.advance(records[done:position], position)
        done = position
        left = folder / f"left-{position}" / "home"
        left.parent.mkdir()
        disk.write(left, dice)
        verdict = judged(left, ground, diary, position, dice)
        assert verdict.losses == []
        assert verdict.acknowledged == INSTANCES
