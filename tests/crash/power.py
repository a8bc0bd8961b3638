"""Power loss: record one run of the real archive, then look at many disks that could be left of it."""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crash.disk import LEFT_OUT, Disk
from crash.ground import Ground
from crash.judge import Verdict, judge_processes, judged
from crash.kills import kill_one
from crash.load import Diary, Load, make_instances
from crash.recorder import Record, Recorder
from helpers.archive import Archive

SYNC_MICROSECONDS = 400
_PATIENCE_SECONDS = 120.0
_STUDIES, _INSTANCES, _SENDERS, _SUBJECTS = 20, 4, 4, 6


class RecorderMissed(Exception):
    """The trace does not lead to the disk as it really is: the recorder's fault, not the archive's."""


@dataclass
class Recording:
    """One run: the trace, the first state of the disk, and the diary."""

    folder: Path
    disk: Disk
    records: list[Record]
    diary: Diary
    began: int  # the position when the load began


@dataclass(frozen=True)
class Round:
    """One power loss."""

    number: int
    position: int
    verdict: Verdict


def record(
    library: Path, ground: Ground, folder: Path, seed: int, *, patch: str = "", kill: bool = False
) -> Recording:
    """Run the archive under load on a copy of the ground, below `folder`; with `kill` the guard dies in between."""
    folder.mkdir()
    home = ground.copy_to(folder)
    disk = Disk(home)
    recorder = Recorder(library, home, folder / "trace", SYNC_MICROSECONDS)
    archive = Archive(folder, fronts=2, patch=patch, environment=recorder.environment)
    archive.start()
    try:
        began = recorder.position
        diary = Diary(lambda: recorder.position)
        first = 1 + seed % 1000 * 100
        studies = [make_instances(first + number, _INSTANCES) for number in range(_STUDIES)]
        load = Load(archive, ground, diary, random.Random(seed))
        load.start(studies, _SENDERS, _SUBJECTS)
        if kill:
            diary.wait_for_more(_STUDIES * _INSTANCES // 3, _PATIENCE_SECONDS)
            kill_one(archive, "guard", random.Random(seed))
        load.join(_PATIENCE_SECONDS)
    finally:
        archive.stop()
        recorder.close()
    return Recording(folder, disk, recorder.records(), diary, began)


def power_losses(recording: Recording, ground: Ground, rounds: int, dice: random.Random) -> Iterator[Round]:
    """Half of them at the moment of an answer, the others anywhere. Positions ascend: the disk follows the trace."""
    moments = recording.diary.moments()
    positions = sorted(
        dice.choice(moments)
        if number % 2 and moments
        else dice.randint(recording.began, len(recording.records))
        for number in range(rounds)
    )
    done = 0
    for number, position in enumerate(positions, 1):
        recording.disk.advance(recording.records[done:position], position)
        done = max(done, position)
        target = recording.folder / f"left-{number}" / "home"
        target.parent.mkdir()
        recording.disk.write(target, dice)
        yield Round(number, position, judged(target, ground, recording.diary, position, dice))
        shutil.rmtree(target.parent)


def check_recorder(recording: Recording) -> None:
    """With nothing lost, the whole trace must lead to what is really there, byte for byte. Raises RecorderMissed."""
    disk = copy.deepcopy(recording.disk)
    disk.advance(recording.records[disk.position :], len(recording.records))
    rebuilt = recording.folder / "rebuilt"
    disk.write_all(rebuilt)
    real, made = _contents(recording.folder / "home"), _contents(rebuilt)
    shutil.rmtree(rebuilt)
    wrong = sorted(name for name in real.keys() | made.keys() if real.get(name) != made.get(name))
    if wrong:
        raise RecorderMissed(f"{len(wrong)} of {len(real)} files differ, first {wrong[:5]}")


def _contents(top: Path) -> dict[str, bytes]:
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and not path.name.endswith(LEFT_OUT)
    }


def whole_archive(recording: Recording, ground: Ground, dice: random.Random) -> Verdict:
    """The disk as it is at the disk's present position, opened by all processes, asked over HTTPS."""
    folder = recording.folder / "processes"
    folder.mkdir()
    recording.disk.write(folder / "home", dice)
    archive = Archive(folder, fronts=2)
    archive.start()
    try:
        return judge_processes(archive, ground, recording.diary, recording.disk.position, 20)
    finally:
        archive.stop()
        shutil.rmtree(folder)
