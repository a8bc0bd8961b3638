"""What the archive's processes hold: idle, with 64 films arriving at once, with one instance of 4 GB in and out.

Proportional set size of the whole process tree, read ten times a second. `memory.64dx` and `memory.4gb` are the peak
over idle. Every instance is acknowledged, and of the large one every byte comes back. `--quick`: 16 films, 1 GB.
"""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import harness
from films import CT, EXPLICIT, KINDS, PDU_BYTES, Kind, Made, Target, send_together, study_of
from harness import Figure, Run, alone, tree

from helpers.archive import Archive, Identity, new_archive
from helpers.raw_scu import RawAssociation
from ribcage.dicom import dimse
from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.limits import UpperLayerLimits

_SETTLE_SECONDS = 3.0
_WHOLE = 4_000_000_000
_PIECE = bytes(1 << 20)


def pss_megabytes(process: int) -> float:
    """Of a process and all below it."""
    total = 0
    for each in tree(process):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has just ended
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024 / 1e6


class Watch:
    """The peak while it is open."""

    def __init__(self, process: int) -> None:
        self._process, self._over = process, threading.Event()
        self.peak = 0.0
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, pss_megabytes(self._process))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def measure(run: Run) -> list[Figure]:
    """All figures of memory."""
    with new_archive(run.folder, fronts=2) as archive:
        scu = archive.device("cr1", "CR1", "store")
        station = archive.device("ws1", "WS1", "retrieve")
        assert archive.process is not None
        target = Target("ours", archive.dicom[1], "RIBCAGE", archive.process.pid)
        time.sleep(_SETTLE_SECONDS)
        idle = pss_megabytes(target.process)
        figures = [alone("memory.idle", "MB", [idle], 450, 225)]
        films = 16 if run.quick else 64
        figures.append(_many(run, target, scu, idle, films))
        figures.append(_large(run, archive, target, scu, station, idle))
        return figures


def _many(run: Run, target: Target, scu: Identity, idle: float, films: int) -> Figure:
    run.say(f"{films} films at once")
    peaks = []
    for each in range(run.rounds(3, 1)):
        bursts: list[list[Made]] = [
            study_of(KINDS["dx"], 1000 + each * films + number, count=2) for number in range(films)
        ]
        with Watch(target.process) as watch:
            send_together(target, scu, bursts)
        peaks.append(watch.peak - idle)
    return alone("memory.64dx", "MB", peaks, 400, 200, {"associations": float(films)})


def _large(
    run: Run, archive: Archive, target: Target, scu: Identity, station: Identity, idle: float
) -> Figure:
    size = 1_000_000_000 if run.quick else _WHOLE
    run.say(f"one instance of {size / 1e9:.0f} GB in")
    kind = Kind("large", CT, "CT", 1, 1, 1)
    made = study_of(kind, 1)[0]
    head = made.data_set[: made.data_set.rindex(b"\xe0\x7f\x10\x00") + 8] + size.to_bytes(4, "little")
    with Watch(target.process) as storing:
        _store(target, scu, made, head, size)
    archive.grant("device:ws1", f"study:{made.study}", "full")
    run.say("and out")
    connection = http.client.HTTPSConnection(
        "localhost", archive.https[1], context=station.context(), timeout=300
    )
    with Watch(target.process) as reading:
        connection.request(
            "GET",
            f"/dicom-web/studies/{made.study}",
            headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        )
        answer = connection.getresponse()
        octets, room = 0, bytearray(1 << 20)
        while count := answer.readinto(room):
            octets += count
    connection.close()
    if answer.status != 200 or octets < size:
        raise SystemExit(f"expected {size} bytes and more, got HTTP {answer.status} and {octets}")
    peak = max(storing.peak, reading.peak) - idle
    return alone(
        "memory.4gb", "MB", [peak], 250, 125, {"in": storing.peak - idle, "out": reading.peak - idle}
    )


def _store(target: Target, scu: Identity, made: Made, head: bytes, size: int) -> None:
    def pieces() -> Iterator[bytes]:
        yield head
        for at in range(0, size, len(_PIECE)):
            yield _PIECE[: size - at]

    with RawAssociation(
        ("127.0.0.1", target.port),
        [(CT, [EXPLICIT])],
        ssl_context=target.context(scu),
        calling=scu.ae_title,
        called=target.title,
        limits=UpperLayerLimits(max_pdu_bytes=PDU_BYTES),
        timeout_seconds=300,
    ) as association:
        context = association.context_for(CT)
        request = dimse.CStoreRq(1, CT, made.instance)
        for pdu in association.upper_layer.stream_data(context, request, pieces()):
            association.socket.sendall(pdu)
        answer = association.next_event()
        if not isinstance(answer, MessageReceived) or getattr(answer.command, "status", -1) != 0:
            raise SystemExit(f"expected success, got {answer!r}")


if __name__ == "__main__":
    sys.exit(harness.script(__doc__ or "", measure))
