"""`kill -9` of one or all of the archive's processes, at a random moment under load."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crash.ground import Ground
from crash.judge import Verdict, judge_processes, judged
from crash.load import Diary, Load, make_instances
from helpers.archive import Archive, wait_for_end
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardError

VICTIMS = ("guard", "front", "all", "front", "guard", "front", "supervisor", "guard", "front", "guard")
ROUNDS_PER_HOME = 20
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02
_FRONTS = 2
_STUDIES, _INSTANCES, _SENDERS, _SUBJECTS = 16, 4, 4, 2
_SAMPLE = 3


@dataclass(frozen=True)
class Round:
    """One kill."""

    number: int
    victim: str
    verdict: Verdict


def kill_rounds(ground: Ground, folder: Path, rounds: int, dice: random.Random) -> Iterator[Round]:
    """Kill, let it come back, look; at the end of each home everything is looked at once more from inside."""
    for first in range(0, rounds, ROUNDS_PER_HOME):
        place = folder / f"kills-{first}"
        place.mkdir()
        yield from _one_home(ground, place, range(first + 1, min(first + ROUNDS_PER_HOME, rounds) + 1), dice)


def _one_home(ground: Ground, folder: Path, numbers: range, dice: random.Random) -> Iterator[Round]:
    home = ground.copy_to(folder)
    archive = Archive(folder, fronts=_FRONTS)
    diary = Diary(lambda: 0)  # a killed process keeps what it wrote: whatever was answered counts
    archive.start()
    try:
        for number in numbers:
            victim = VICTIMS[(number - 1) % len(VICTIMS)]
            _kill_under_load(archive, ground, diary, victim, number, dice)
            verdict = judge_processes(archive, ground, diary, 0, _SAMPLE)
            if number == numbers[-1]:
                archive.kill()
                deep = judged(home, ground, diary, 0, dice)
                verdict.losses += deep.losses
                verdict.deeds += deep.deeds
            yield Round(number, victim, verdict)
    finally:
        if archive.process is not None:
            archive.stop()


def _kill_under_load(
    archive: Archive, ground: Ground, diary: Diary, victim: str, number: int, dice: random.Random
) -> None:
    studies = [make_instances(number * 100 + each, _INSTANCES) for each in range(_STUDIES)]
    load = Load(archive, ground, diary, dice)
    load.start(studies, _SENDERS, _SUBJECTS)
    diary.wait_for_more(dice.randint(1, 25), _PATIENCE_SECONDS)
    threading.Event().wait(dice.random() * 0.01)
    orphans = kill_one(archive, victim, dice)
    load.stop()
    wait_for_end(orphans)
    load.join(_PATIENCE_SECONDS)
    if archive.process is None:
        archive.start()
    _wait_until_whole(archive)


def kill_one(archive: Archive, victim: str, dice: random.Random) -> list[int]:
    """Who is left without a supervisor, as descriptors: they end by themselves."""
    children = archive.children()
    if victim == "all":
        archive.kill()
    elif victim == "supervisor":
        watched = [os.pidfd_open(child) for child in children]
        assert archive.process is not None and archive.process.stdout is not None
        archive.process.kill()
        archive.process.wait()
        archive.process.stdout.close()
        archive.process = None
        return watched
    else:
        guard, *fronts = sorted(children, key=_is_front)
        os.kill(guard if victim == "guard" else dice.choice(fronts), signal.SIGKILL)
    return []


def _is_front(process: int) -> bool:
    return b"front_process" in Path(f"/proc/{process}/cmdline").read_bytes()


def _wait_until_whole(archive: Archive) -> None:
    """Guard and fronts are there again, and the guard answers."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(GuardError, OSError):
            archive.ask(p.GetStatus(), p.Status)
            if len(archive.children()) == _FRONTS + 1:
                return
        threading.Event().wait(_POLL_SECONDS)
    raise TimeoutError("the archive did not come back")
