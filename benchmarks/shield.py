"""Storing through the shield into Orthanc, beside Orthanc alone: plain as it was, and with its own mutual TLS.

`shield.KIND.N.PEER`: milliseconds an instance with N associations. Behind the shield stands an Orthanc
of its own with the settings of the plain one. At the end each is asked how many instances it holds.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import harness
from films import KINDS, PDU_BYTES, Kind, Target, send_together, study_of
from harness import Figure, Run, against, in_turns

from helpers.archive import Identity
from helpers.shielded import AE_TITLE, CALLING, shield_before
from peers import ORTHANC, Orthanc, _running, free_port, orthanc

_TARGET = (0.8, 1.0)


@dataclass(frozen=True)
class Plain(Target):
    """An archive that takes C-STORE in plain."""

    def context(self, scu: Identity) -> ssl.SSLContext | None:  # type: ignore[override]  # none: no TLS
        return None


class Side:
    """One way in: sends studies nobody has seen."""

    def __init__(self, target: Target, scu: Identity, numbers: Iterator[int]) -> None:
        self._target, self._scu, self._numbers = target, scu, numbers
        self.sent = 0

    def burst(self, kind: Kind, associations: int) -> Callable[[int], float]:
        """A round: milliseconds an instance."""

        def one(_round: int) -> float:
            bursts = [study_of(kind, next(self._numbers)) for _ in range(associations)]
            seconds, _ = send_together(self._target, self._scu, bursts)
            instances = sum(map(len, bursts))
            self.sent += instances
            return seconds / instances * 1000

        return one


@contextlib.contextmanager
def plain_orthanc(run: Run, name: str) -> Iterator[Orthanc]:
    """Orthanc as a hospital has it: who knows an AE title comes in."""
    place = run.folder / name
    place.mkdir()
    dicom, http = free_port(), free_port()
    settings = {
        "StorageDirectory": str(place / "db"),
        "IndexDirectory": str(place / "db"),
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "DicomPort": dicom,
        "DicomAet": AE_TITLE,
        "DicomAlwaysAllowStore": True,
        "DicomModalities": {"viewer": [CALLING, "127.0.0.1", 104]},
        "MaximumPduLength": PDU_BYTES,
        "TcpNoDelay": True,
        "Plugins": [],
    }
    (place / "orthanc.json").write_text(json.dumps(settings))
    with _running(place, [ORTHANC, str(place / "orthanc.json")], dicom, http) as process:
        yield Orthanc(Plain(name, dicom, AE_TITLE, process), http, 0)


def measure(run: Run) -> list[Figure]:
    """All figures of the shield."""
    numbers, figures = count(1), list[Figure]()
    (run.folder / "ours").mkdir()
    with (
        plain_orthanc(run, "behind") as behind,
        plain_orthanc(run, "alone") as alone,
        shield_before(behind.target.port, run.folder / "ours", fronts=2) as shield,
    ):
        scu = shield.device("cr1", "CR1", "store")
        assert shield.process is not None
        with orthanc(run, scu) as secured:
            sides = {
                "ours": Side(Target("ours", shield.dicom[1], "RIBCAGE", shield.process.pid), scu, numbers),
                "Orthanc alone": Side(alone.target, scu, numbers),
            }
            if secured is not None:
                sides["Orthanc with TLS"] = Side(secured.target, scu, numbers)
            for associations in (1, 4):
                for kind in (KINDS["dx"], KINDS["ct"]):
                    run.say(f"storing {kind.name}, {associations} at once")
                    bursts = {name: side.burst(kind, associations) for name, side in sides.items()}
                    taken = in_turns(bursts, run.rounds(7))
                    for name in list(sides)[1:]:
                        called = f"shield.{kind.name}.{associations}.{name.split()[-1].lower()}"
                        peers = taken[name]
                        figures.append(against(called, "ms/instance", taken["ours"], name, peers, *_TARGET))
            held = {"ours": behind, "Orthanc alone": alone}
            for name, where in held.items():
                if where.instances() != sides[name].sent:
                    raise SystemExit(f"{name}: {sides[name].sent} acknowledged, {where.instances()} held")
    return figures


if __name__ == "__main__":
    sys.exit(harness.script(__doc__ or "", measure))
