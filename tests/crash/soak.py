"""`make soak`: many kills and many power losses; a line of figures, and exit status 1 when anything was lost.

`python -m crash.soak --kill 200 --power 200 [--seed N] [--json]`, with `tests` on the path.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from crash.ground import Ground, prepare, scratch
from crash.judge import Verdict
from crash.kills import kill_rounds
from crash.power import check_recorder, power_losses, record, whole_archive
from crash.recorder import SOURCE
from helpers.c_library import NoCompiler, compile_library

ROUNDS_PER_RECORDING = 20
Say = Callable[[str], None]


@dataclass
class Tally:
    """One kind of round, summed up. `acknowledged` counts what had to be there, round by round."""

    rounds: int = 0
    acknowledged: int = 0
    changes_of_rights: int = 0
    losses: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, what: str, verdict: Verdict, say: Say) -> None:
        """Count one round."""
        self.rounds += 1
        self.acknowledged += verdict.acknowledged
        self.changes_of_rights += verdict.deeds
        self.losses += [f"{what}: {each}" for each in verdict.losses]
        say(f"{what}: {verdict.acknowledged} acknowledged, {len(verdict.losses)} lost")
        for each in verdict.losses[:10]:
            say(f"  LOST {each}")


def kill_soak(ground: Ground, folder: Path, rounds: int, seed: int, say: Say) -> Tally:
    """`rounds` times `kill -9`."""
    tally, began = Tally(), time.monotonic()
    for each in kill_rounds(ground, folder, rounds, random.Random(seed)):
        tally.add(f"kill {each.number}/{rounds} ({each.victim})", each.verdict, say)
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def power_soak(ground: Ground, folder: Path, rounds: int, seed: int, say: Say) -> Tally:
    """`rounds` power losses over as many recordings as that takes, in every second one a guard dies.

    One disk of each is opened by all processes.
    """
    tally, began = Tally(), time.monotonic()
    library = compile_library(SOURCE, folder)
    for first in range(0, rounds, ROUNDS_PER_RECORDING):
        dice = random.Random(seed + first)
        kill = first // ROUNDS_PER_RECORDING % 2 == 1
        recording = record(library, ground, folder / f"power-{first}", seed + first, kill=kill)
        check_recorder(recording)
        count = min(ROUNDS_PER_RECORDING, rounds - first)
        for each in power_losses(recording, ground, count, dice):
            name = f"power {first + each.number}/{rounds} (seed {seed + first}, position {each.position})"
            tally.add(name, each.verdict, say)
        lost = whole_archive(recording, ground, dice).losses
        tally.losses += [f"power {first}, all processes: {each}" for each in lost]
        shutil.rmtree(recording.folder)
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def main(words: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--kill", type=int, default=200, metavar="ROUNDS")
    parser.add_argument("--power", type=int, default=200, metavar="ROUNDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--json", action="store_true", help="the figures as one JSON object on standard output"
    )
    options = parser.parse_args(words)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with scratch() as folder:
        (folder / "ground").mkdir()
        ground = prepare(folder / "ground")
        try:
            power = power_soak(ground, folder, options.power, options.seed, say)
        except NoCompiler as failure:
            say(f"soak: {failure}")
            return 2
        kill = kill_soak(ground, folder, options.kill, options.seed, say)
    if options.json:
        print(json.dumps({"kill": asdict(kill), "power_loss": asdict(power)}))
    for name, tally in (("kill", kill), ("power loss", power)):
        say(
            f"{name}: {tally.rounds} rounds, {tally.acknowledged} acknowledged instances checked, "
            f"{tally.changes_of_rights} changes of rights and sessions, {len(tally.losses)} losses, {tally.seconds} s"
        )
    return 1 if kill.losses or power.losses else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
