"""Retrieving a study by WADO-RS: ours over mutual TLS with everything on, beside Orthanc behind stunnel and in clear.

`retrieve.wado.KIND.orthanc`: milliseconds an instance of a whole study, as stored, over one connection that stands.
Every byte must arrive: a status but 200, or fewer bytes than the pixels have, ends the run.
"""

from __future__ import annotations

import http.client
import ssl
import sys
import time
from collections.abc import Callable

import harness
from films import KINDS, Kind, Made, Target, send, study_of
from harness import Figure, Run, against, in_turns

from helpers.archive import Archive, Identity, new_archive
from peers import Orthanc, orthanc

TARGETS = {"retrieve.wado.dx.orthanc": (1.5, 2.0), "retrieve.wado.ct.orthanc": (1.0, 1.5)}
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PIECE = 256 * 1024


class Reader:
    """One standing connection."""

    def __init__(self, connection: http.client.HTTPConnection, accept: str) -> None:
        self._connection, self._accept = connection, accept
        self._room = bytearray(_PIECE)

    def study(self, made: list[Made]) -> Callable[[int], float]:
        """A round: milliseconds an instance. Raises SystemExit when not everything came."""
        wanted = sum(each.kind.pixel_bytes for each in made)

        def one(_round: int) -> float:
            start = time.perf_counter()
            self._connection.request(
                "GET", f"/dicom-web/studies/{made[0].study}", headers={"Accept": self._accept}
            )
            answer = self._connection.getresponse()
            octets = 0
            view = memoryview(self._room)
            while count := answer.readinto(view):
                octets += count
            taken = time.perf_counter() - start
            if answer.status != 200 or octets < wanted:
                raise SystemExit(
                    f"expected {wanted} bytes and more, got HTTP {answer.status} and {octets} bytes"
                )
            return taken / len(made) * 1000

        return one

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def measure(run: Run) -> list[Figure]:
    """All figures of retrieving."""
    (run.folder / "ours").mkdir()
    with new_archive(run.folder / "ours", fronts=2) as archive:
        scu = archive.device("cr1", "CR1", "store")
        station = archive.device("ws1", "WS1", "retrieve")
        assert archive.process is not None
        ours = Target("ours", archive.dicom[1], "RIBCAGE", archive.process.pid)
        with orthanc(run, scu) as beside:
            return [
                figure
                for name in ("dx", "ct")
                for figure in _figures(run, KINDS[name], archive, (ours, scu), station, beside)
            ]


def _figures(
    run: Run,
    kind: Kind,
    archive: Archive,
    storing: tuple[Target, Identity],
    station: Identity,
    beside: Orthanc | None,
) -> list[Figure]:
    run.say(f"retrieving {kind.name}")
    ours, scu = storing
    made = study_of(kind, 1)
    send(ours, scu, made)
    archive.grant("device:ws1", f"study:{made[0].study}", "full")
    readers = {"ours": Reader(_secure(archive.https[1], station.context(), "localhost"), AS_STORED)}
    if beside is not None:
        send(beside.target, scu, made)
        plain = http.client.HTTPConnection("127.0.0.1", beside.http, timeout=120)
        readers["Orthanc in clear"] = Reader(plain, AS_STORED)
        if beside.https:
            behind = _secure(beside.https, beside.target.context(scu), "127.0.0.1")
            readers["Orthanc behind stunnel"] = Reader(behind, AS_STORED)
    try:
        taken = in_turns({name: reader.study(made) for name, reader in readers.items()}, run.rounds(9, 5))
    finally:
        for each in readers.values():
            each.close()
    name = f"retrieve.wado.{kind.name}.orthanc"
    behind, clear = taken.get("Orthanc behind stunnel", []), taken.get("Orthanc in clear", [])
    return [
        against(name, "ms/instance", taken["ours"], "Orthanc behind stunnel", behind, *TARGETS[name]),
        against(f"{name}.clear", "ms/instance", taken["ours"], "Orthanc in clear", clear),
    ]


def _secure(port: int, context: ssl.SSLContext, name: str) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(name, port, context=context, timeout=120)


if __name__ == "__main__":
    sys.exit(harness.script(__doc__ or "", measure))
