"""What every benchmark shares: rounds in turns, medians and spread, CPU of a process tree, one form of report.

Rules, in order:
1. Sides are asked in turns within a round, in an order that changes from round to round; the first round is for
   warmth and counts for nothing.
2. A figure is a median; `spread` is (largest - smallest) / median of our own rounds. `ratio` above 1 means ours is
   better, whatever the unit; 0 where there is no peer in the run.
3. What a side answered is checked before its time counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the tests' own harness: archives, devices, requestors

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Figure:
    """One line of the report. `target` and `stretch` are ratios, or values in `unit` where there is no peer."""

    name: str
    ours: float
    unit: str
    peer: float = 0.0
    peer_name: str = ""
    ratio: float = 0.0
    spread: float = 0.0
    target: float = 0.0
    stretch: float = 0.0
    more: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Against the target; None where there is none, or the peer is missing."""
        if not self.target or (self.peer_name and not self.peer):
            return None
        if self.peer_name:
            return self.ratio >= self.target
        return self.ours >= self.target if self.unit.endswith("/s") else self.ours <= self.target


@dataclass
class Run:
    """The options of one script."""

    folder: Path
    quick: bool
    missing: list[str] = field(default_factory=list)

    def rounds(self, usual: int, quick: int = 3) -> int:
        """How many count."""
        return quick if self.quick else usual

    def say(self, line: str) -> None:
        """Progress, where nobody reads figures."""
        print(line, file=sys.stderr, flush=True)


def script(describe: str, measure: Callable[[Run], list[Figure]]) -> int:
    """`main` of a benchmark: options, a folder of its own, the report."""
    parser = argparse.ArgumentParser(description=describe)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sets")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    os.environ["TCP_NODELAY"] = "1"  # DCMTK and Orthanc wait 40 ms an instance without it
    with tempfile.TemporaryDirectory(prefix="ribcage-bench-") as name:
        run = Run(Path(name), options.quick)
        figures = measure(run)
        report = {"machine": machine(), "fsync_ms": fsync_milliseconds(Path(name)), "missing": run.missing}
    report["figures"] = [asdict(each) | each.more | {"met": each.met} for each in figures]
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{report['machine']}, fsync {report['fsync_ms']:.2f} ms")
        for each in report["figures"]:
            print(line(each))
    return 0


def line(figure: Mapping[str, Any]) -> str:
    """One figure for people."""
    peer = (
        f"{figure['peer_name']} {figure['peer']:.2f}, ratio {figure['ratio']:.2f}" if figure["peer"] else ""
    )
    target = f"target {figure['target']:g}" if figure["target"] else ""
    more = ", ".join(f"{key} {value:.2f}" for key, value in figure["more"].items())
    parts = [
        f"{figure['name']:28} {figure['ours']:9.3f} {figure['unit']}",
        peer,
        f"spread {figure['spread']:.0%}",
    ]
    return "  ".join(
        filter(None, [*parts, target, {True: "met", False: "MISSED", None: ""}[figure["met"]], more])
    )


def in_turns(sides: Mapping[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """What each side gives in each round that counts (rule 1)."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            value = sides[name](number)
            if number:
                taken[name].append(value)
    return taken


def against(
    name: str,
    unit: str,
    ours: Sequence[float],
    peer_name: str,
    peers: Sequence[float],
    target: float = 0.0,
    stretch: float = 0.0,
    *,
    more_is_better: bool = False,
    more: dict[str, float] | None = None,
) -> Figure:
    """A figure of two sides (rule 2)."""
    middle = statistics.median(ours)
    peer = statistics.median(peers) if peers else 0.0
    ratio = (middle / peer if more_is_better else peer / middle) if peer and middle else 0.0
    spread = (max(ours) - min(ours)) / middle if middle else 0.0
    return Figure(name, middle, unit, peer, peer_name, ratio, spread, target, stretch, more or {})


def alone(
    name: str,
    unit: str,
    ours: Sequence[float],
    target: float = 0.0,
    stretch: float = 0.0,
    more: dict[str, float] | None = None,
) -> Figure:
    """A figure without a peer: its target is a value in `unit`."""
    middle = statistics.median(ours)
    spread = (max(ours) - min(ours)) / middle if middle else 0.0
    return Figure(name, middle, unit, spread=spread, target=target, stretch=stretch, more=more or {})


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def machine() -> str:
    """What was measured on, without a name of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def fsync_milliseconds(folder: Path) -> float:
    """Median latency of write and fsync of 4 KiB on this disk."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(50):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def tree(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    for each in found:
        for thread in Path(f"/proc/{each}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def cpu_seconds(process: int) -> float:
    """User and system time that a process and all below it have used, ended children included."""
    total = 0
    for each in tree(process):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(int(fields[index]) for index in (11, 12, 13, 14))
    return total / _TICKS
