"""Storing over mutual TLS: ours with everything on, beside Orthanc and storescp in the same run.

`ingest.KIND.N.PEER`: milliseconds an instance with N associations (one after another within each); `ingest.cpu.KIND`:
CPU of the archive's whole process tree an instance. At the end each archive is asked how many instances it holds.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from itertools import count

import harness
from films import KINDS, Kind, Made, Target, send_together, study_of
from harness import Figure, Run, against, cpu_seconds, in_turns, percentile

from helpers.archive import Archive, Identity, new_archive
from peers import orthanc, stored_by, storescp
from ribcage.guard import protocol as p

TARGETS = {
    "ingest.dx.1.orthanc": (2.0, 2.5),
    "ingest.ct.1.orthanc": (2.5, 3.0),
    "ingest.small.1.orthanc": (1.5, 3.0),
    "ingest.dx.4.orthanc": (1.5, 2.0),
    "ingest.ct.4.orthanc": (1.5, 2.0),
    "ingest.small.4.orthanc": (1.5, 2.0),
    "ingest.cpu.dx.orthanc": (1.7, 2.5),
    "ingest.cpu.ct.orthanc": (2.0, 2.5),
    "ingest.dx.1.storescp": (0.8, 1.0),
    "ingest.ct.1.storescp": (0.5, 0.8),
}
_P99_OVER_MEDIAN = 10.0


class Side:
    """One archive: sends studies nobody has seen, keeps count and times."""

    def __init__(self, target: Target, scu: Identity, numbers: Iterator[int]) -> None:
        self.target, self._scu, self._numbers = target, scu, numbers
        self.sent = 0
        self.cpu: list[float] = []
        self.each: list[float] = []

    def burst(self, kind: Kind, associations: int) -> Callable[[int], float]:
        """A round: milliseconds an instance."""

        def one(_round: int) -> float:
            bursts: list[list[Made]] = [study_of(kind, next(self._numbers)) for _ in range(associations)]
            instances = sum(map(len, bursts))
            before = cpu_seconds(self.target.process)
            seconds, each = send_together(self.target, self._scu, bursts)
            self.cpu.append((cpu_seconds(self.target.process) - before) / instances * 1000)
            self.each += each
            self.sent += instances
            return seconds / instances * 1000

        return one

    def start(self) -> None:
        """Forget the times of the figure before."""
        self.cpu, self.each = [], []


def measure(run: Run) -> list[Figure]:
    """All figures of storing."""
    numbers = count(1)
    (run.folder / "ours").mkdir()
    with new_archive(run.folder / "ours", fronts=2) as archive:
        scu = archive.device("cr1", "CR1", "store")
        assert archive.process is not None
        ours = Side(Target("ours", archive.dicom[1], "RIBCAGE", archive.process.pid), scu, numbers)
        with orthanc(run, scu) as beside, storescp(run, scu) as plain:
            theirs = Side(beside.target, scu, numbers) if beside else None
            writer = Side(plain, scu, numbers) if plain else None
            figures = []
            for associations in (1, 4):
                for kind in KINDS.values():
                    run.say(f"storing {kind.name}, {associations} at once")
                    figures += _figures(
                        run, kind, associations, ours, theirs, writer if associations == 1 else None
                    )
            if beside and theirs:
                _check("Orthanc", theirs.sent, beside.instances())
            if writer:
                _check("storescp", writer.sent, stored_by(run.folder))
        _check("ours", ours.sent, _held(archive))
    return figures


def _figures(
    run: Run, kind: Kind, associations: int, ours: Side, theirs: Side | None, writer: Side | None
) -> list[Figure]:
    sides = (
        {"ours": ours} | ({"Orthanc": theirs} if theirs else {}) | ({"storescp": writer} if writer else {})
    )
    for side in sides.values():
        side.start()
    taken = in_turns({name: side.burst(kind, associations) for name, side in sides.items()}, run.rounds(7))
    figures = []
    for name in list(sides)[1:] or ["Orthanc"]:
        called = f"ingest.{kind.name}.{associations}.{name.lower()}"
        if name == "storescp" and called not in TARGETS:
            continue
        figures.append(
            against(called, "ms/instance", taken["ours"], name, taken.get(name, []), *TARGETS[called])
        )
    called = f"ingest.cpu.{kind.name}.orthanc"
    if associations == 1 and called in TARGETS:
        peers = theirs.cpu[1:] if theirs else []
        figures.append(against(called, "CPU ms/instance", ours.cpu[1:], "Orthanc", peers, *TARGETS[called]))
    if associations > 1:
        tail = percentile(ours.each, 0.99) / statistics.median(ours.each)
        figures.append(
            harness.alone(
                f"ingest.{kind.name}.4.p99", "x median", [tail], _P99_OVER_MEDIAN, _P99_OVER_MEDIAN / 2
            )
        )
    return figures


def _held(archive: Archive) -> int:
    return archive.ask(p.GetStatus(), p.Status).instances


def _check(name: str, sent: int, held: int) -> None:
    if sent != held:
        raise SystemExit(f"{name}: {sent} instances were acknowledged, it holds {held}")


if __name__ == "__main__":
    sys.exit(harness.script(__doc__ or "", measure))
