"""A film as its readers get it: first byte and whole answer of a 10 MB DX film, one reader and twenty at once.

Rules of the comparison, in order:
1. Every reader has an account, a session and the second factor of their own, and asks over HTTPS on a connection
   that stands; each reads another film than their neighbour. All films were read once before.
2. The twin is a file server in clear behind the same TLS, in a process of its own, that asks nobody and decrypts
   nothing. Both are asked in turns; a ratio above 1 means that ours is faster.
3. `rendered` has no twin: the cage decodes, windows and compresses. Readers, servers and cage share the machine.

`--quick` does fewer rounds, `--json` prints one JSON object.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyotp
from harness import Figure, Run, script

from helpers.archive import Archive, Browser, new_archive
from ribcage.crypto import authority
from ribcage.guard import protocol as p
from ribcage.oversight.studies import Study, make_study
from system.senders import SUCCESS, instance_of, send

READERS = 20
FILMS = 4
ROWS, COLUMNS = 2560, 1954  # of 16 bit: 10.0 MB, made up
PIECE = 256 * 1024
FRAME = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
TWIN = """
import http.server, ssl, sys
folder, certificate, key = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def __init__(self, *rest): super().__init__(*rest, directory=folder)
    def log_message(self, *rest): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@dataclass
class Taken:
    """Milliseconds of one answer to its first byte of the body, and to its last."""

    first: float
    whole: float


class Reader:
    """One connection that stands, with what its server wants in each request."""

    def __init__(self, port: int, context: ssl.SSLContext, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=120)
        self._headers = headers
        self._room = bytearray(PIECE)

    def get(self, path: str, accept: str, least: int) -> Taken:
        """Ask and read everything. Raises SystemExit when it is not a whole film."""
        start = time.perf_counter()
        self._connection.request("GET", path, headers={**self._headers, "Accept": accept})
        answer = self._connection.getresponse()
        octets = answer.readinto(self._room)
        first = time.perf_counter()
        while more := answer.readinto(self._room):
            octets += more
        whole = time.perf_counter()
        if answer.status != 200 or octets < least:
            raise SystemExit(f"expected a film, got HTTP {answer.status} and {octets} bytes")
        return Taken((first - start) * 1000, (whole - start) * 1000)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def measure(run: Run) -> list[Figure]:
    """All figures of reading."""
    rounds = run.rounds(5, 2)
    films = [make_study(53, number, ROWS, COLUMNS) for number in range(FILMS)]
    with new_archive(run.folder, fronts=2) as archive, _twin(run.folder / "twin", films) as (port, trusted):
        sender = archive.device("cr1", "CR1", "store")
        if [send(archive, sender, instance_of(film.file)) for film in films] != [SUCCESS] * FILMS:
            raise SystemExit("a film was not stored")
        doctors = [_doctor(archive, number, films[number % FILMS]) for number in range(READERS)]
        ours = [Reader(archive.https[1], one.context, {"Cookie": one.cookie}) for one in doctors]
        twins = [Reader(port, trusted, {}) for _ in doctors]
        try:
            figures = []
            for kind, at_once in (("frame", 1), ("frame", READERS), ("rendered", 1), ("rendered", READERS)):
                figures += _figures(kind, at_once, rounds, films, ours, twins)
            return figures
        finally:
            for each in [*ours, *twins]:
                each.close()


def _doctor(archive: Archive, number: int, film: Study) -> Browser:
    """A radiologist with the second factor and a grant for one film."""
    name = f"reader{number}"
    request = p.AddPerson(username=name, display_name=name, roles=["radiologist"])
    added = archive.ask(request, p.PersonAdded)
    browser = Browser(archive, pyotp.parse_uri(added.totp_uri))
    browser.agent = ""
    archive.grant(f"person:{name}", f"study:{film.study_uid}", "full")
    if browser.log_in(name, added.password).status != 200 or browser.step_up().status != 200:
        raise SystemExit("a reader was not let in")
    return browser


def _figures(
    kind: str,
    at_once: int,
    rounds: int,
    films: Sequence[Study],
    ours: Sequence[Reader],
    twins: Sequence[Reader],
) -> list[Figure]:
    """First byte and whole answer of one kind of request, by so many readers."""
    taken: dict[str, list[list[Taken]]] = {"ours": [], "twin": []}
    times = rounds * (4 if at_once == 1 else 1)
    for number in range(times + 1):
        sides = [("ours", ours), ("twin", twins)] if kind == "frame" else [("ours", ours)]
        for side, readers in sides:
            found = _together(kind, side, films, readers[:at_once])
            if number:  # the first is for warmth
                taken[side].append(found)
    figures = []
    for part in ("first", "whole"):
        values = [[getattr(one, part) for one in each] for each in taken["ours"]]
        peers = [getattr(one, part) for each in taken["twin"] for one in each]
        every = [one for each in values for one in each]
        middle = statistics.median(every)
        peer = statistics.median(peers) if peers else 0.0
        medians = [statistics.median(each) for each in values]
        spread = (max(medians) - min(medians)) / middle
        tail = {"p95": statistics.quantiles(every, n=20, method="inclusive")[18]}
        name, twin = f"read.{kind}.{part}.{at_once}", "file server"
        figures.append(Figure(name, middle, "ms", peer, twin, peer / middle, spread, more=tail))
    return figures


def _together(kind: str, side: str, films: Sequence[Study], readers: Sequence[Reader]) -> list[Taken]:
    """All readers ask at the same moment."""
    found: list[Taken] = []
    gate = threading.Barrier(len(readers))

    def read(number: int, reader: Reader) -> None:
        film = films[number % FILMS]
        path = f"/{number % FILMS}.raw"
        if side == "ours":
            path = (
                f"/dicom-web/studies/{film.study_uid}/series/{film.series_uid}/instances/{film.instance_uid}/"
            )
            path += "rendered" if kind == "rendered" else "frames/1"
        gate.wait()
        accept = "image/jpeg" if kind == "rendered" else FRAME
        found.append(reader.get(path, accept, 10_000 if kind == "rendered" else 2 * ROWS * COLUMNS))

    threads = [threading.Thread(target=read, args=pair) for pair in enumerate(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != len(readers):
        raise SystemExit("a reader did not get the film")
    return found


@contextlib.contextmanager
def _twin(folder: Path, films: Sequence[Study]) -> Iterator[tuple[int, ssl.SSLContext]]:
    """The file server of rule 2: its port, and a context that trusts it."""
    (folder / "films").mkdir(parents=True)
    for number, film in enumerate(films):
        (folder / "films" / f"{number}.raw").write_bytes(film.file[-2 * ROWS * COLUMNS :])
    now = datetime.now(UTC)
    root = authority.make_root(f"Twin {secrets.token_hex(4)}", now=now)
    issued = authority.issue_client(root, "twin", now=now, kind="rsa")
    certificate, key = folder / "twin.crt", folder / "twin.key"
    certificate.write_bytes(issued.certificate_pem)
    key.write_bytes(issued.private_key_pem)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    command = [sys.executable, "-c", TWIN, str(folder / "films"), str(certificate), str(key)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), context
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    sys.exit(script(__doc__ or "", measure))
