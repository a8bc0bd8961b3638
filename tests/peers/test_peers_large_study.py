"""A study of 5,000 slices, in and out by foreign programs: every hash equal, nothing doubled, memory bounded.

In by two associations of storescu; out by getscu (through stunnel), by movescu to storescp over TLS, by WADO-RS.
Listed by findscu and page by page by QIDO-RS; metadata of all of it in JSON and XML.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.archive import Archive, Identity, Reply, new_archive, parts
from helpers.front_house import CT, EXPLICIT_LE, ct_slice
from peers.tunnels import STUNNEL, tunnel
from ribcage.dicom import part10
from ribcage.guard import protocol as p

COUNT = 5000
SIDE = 16
PAGE = 500
MOST_MIB = 300  # resident, of guard or front, at its peak
TOOLS = [Path("/usr/bin") / name for name in ("storescu", "storescp", "getscu", "movescu", "findscu")]
pytestmark = [pytest.mark.peers, pytest.mark.slow]
STUDY, SERIES = "1.2.826.0.1.3680043.10.2.1", "1.2.826.0.1.3680043.10.3.1"
KEYS = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}"]
MULTIPART = 'multipart/related; type="application/dicom"'


@dataclass
class Ward:
    """The archive with the study in it, its workstation, and the hash of each slice's data set."""

    archive: Archive
    station: Identity
    hashes: set[str]

    def tls(self, who: Identity | None = None) -> list[str]:
        """What DCMTK wants to hear of TLS."""
        who = who or self.station
        return ["+tls", str(who.key), str(who.certificate), "+cf", str(who.authority)]

    def web(self, path: str, accept: str) -> Reply:
        """One request of the workstation."""
        context = self.station.context()
        with closing(
            http.client.HTTPSConnection("localhost", self.archive.https[1], context=context)
        ) as line:
            line.request("GET", f"/dicom-web/studies/{STUDY}{path}", headers={"Accept": accept})
            answer = line.getresponse()
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(answer.status, headers, answer.read())


def run(*words: str | Path) -> str:
    """A program of DCMTK to its successful end; what it printed."""
    environment = dict(os.environ, TCP_NODELAY="1")
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    return done.stdout + done.stderr


def digest(data_set: bytes) -> str:
    return hashlib.sha256(data_set).hexdigest()


def hashes_in(folder: Path) -> list[str]:
    """Of the data sets of the files that a program received."""
    return [hash_of(path.read_bytes()) for path in folder.iterdir()]


def hash_of(file: bytes) -> str:
    return digest(file[part10.split(file).prefix_bytes :])


def make_slices(folder: Path) -> set[str]:
    """The study as files, half of it in each of two folders; hashes of the data sets."""
    found = set()
    for half in ("0", "1"):
        (folder / half).mkdir(parents=True)
    template = ct_slice(10_000, SIDE, InstanceNumber="10000", SliceLocation="10000")[1]
    for number in range(10_000, 10_000 + COUNT):
        data = template.replace(b".10000", b".%05d" % number).replace(b"10000 ", b"%05d " % number)
        uid = f"1.2.826.0.1.3680043.10.1.{number}"
        file = part10.file_prefix(CT, uid, EXPLICIT_LE) + data
        (folder / str(number % 2) / f"{number}.dcm").write_bytes(file)
        found.add(digest(data))
    assert len(found) == COUNT
    return found


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    missing = [str(tool) for tool in (*TOOLS, STUNNEL) if not tool.exists()]
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"not installed: {missing}; .ci/run installs dcmtk and stunnel4")
        pytest.skip("DCMTK or stunnel is not installed: apt-get install dcmtk stunnel4")
    folder = tmp_path_factory.mktemp("large")
    hashes = make_slices(folder / "slices")
    (folder / "archive").mkdir()
    with new_archive(folder / "archive") as archive:
        station = archive.device("ws1", "WS1", "store", "query", "retrieve")
        archive.grant("device:ws1", "department:radiology", "full")
        made = Ward(archive, station, hashes)
        called = ["-aet", "WS1", "-aec", "RIBCAGE", "127.0.0.1", str(archive.dicom[1])]
        senders = [
            subprocess.Popen([TOOLS[0], *made.tls(), *called, "+sd", folder / "slices" / half])
            for half in ("0", "1")
        ]
        assert [each.wait(300) for each in senders] == [0, 0]
        yield made
        assert all(peak_mib(process) < MOST_MIB for process in archive.children())


def peak_mib(process: int) -> int:
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) // 1024


def test_getscu_gets_every_slice(ward: Ward, tmp_path: Path) -> None:
    into = tmp_path / "got"
    into.mkdir()
    with tunnel(tmp_path, ward.archive, ward.station) as port:
        run(
            "/usr/bin/getscu",
            "+xe",
            "+B",
            "-od",
            into,
            "-aet",
            "WS1",
            "-aec",
            "RIBCAGE",
            *KEYS,
            "127.0.0.1",
            port,
        )
    assert sorted(hashes_in(into)) == sorted(ward.hashes)


def test_movescu_moves_every_slice_to_storescp(ward: Ward, tmp_path: Path) -> None:
    into = tmp_path / "moved"
    into.mkdir()
    node = ward.archive.device("node", "NODE", "retrieve")
    ward.archive.grant("device:node", "department:radiology", "full")
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = free.getsockname()[1]
    environment = dict(os.environ, TCP_NODELAY="1")
    receiver = subprocess.Popen(
        ["/usr/bin/storescp", *ward.tls(node), "+B", "-od", into, "-aet", "NODE", str(at)], env=environment
    )
    try:
        ward.archive.ask(p.AddDestination("NODE", "node", "127.0.0.1", at), p.Noted)
        with tunnel(tmp_path, ward.archive, ward.station) as port:
            run(
                "/usr/bin/movescu", "-aem", "NODE", "-aet", "WS1", "-aec", "RIBCAGE", *KEYS, "127.0.0.1", port
            )
    finally:
        receiver.terminate()
        receiver.wait()
    assert sorted(hashes_in(into)) == sorted(ward.hashes)


def test_wado_gives_every_slice_and_all_metadata(ward: Ward) -> None:
    whole = ward.web("", MULTIPART + "; transfer-syntax=*")
    assert sorted(map(hash_of, parts(whole))) == sorted(ward.hashes)
    metadata = ward.web("/metadata", "application/dicom+json").json()
    assert isinstance(metadata, list)
    assert len({each["00080018"]["Value"][0] for each in metadata}) == len(metadata) == COUNT
    native = ward.web("/metadata", 'multipart/related; type="application/dicom+xml"')
    assert len(parts(native)) == COUNT


def test_qido_pages_through_every_slice_once(ward: Ward) -> None:
    seen = []
    for place in range(0, COUNT + PAGE, PAGE):
        page = ward.web(f"/series/{SERIES}/instances?limit={PAGE}&offset={place}", "application/dicom+json")
        assert page.status == (204 if place == COUNT else 200)
        seen += [each["00080018"]["Value"][0] for each in json.loads(page.body or b"[]")]
    assert len(seen) == len(set(seen)) == COUNT


def test_findscu_lists_every_slice(ward: Ward) -> None:
    keys = ["-S", "-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={STUDY}"]
    keys += ["-k", f"SeriesInstanceUID={SERIES}", "-k", "SOPInstanceUID"]
    at = ["-aet", "WS1", "-aec", "RIBCAGE", "127.0.0.1", str(ward.archive.dicom[1])]
    began = time.monotonic()
    told = run("/usr/bin/findscu", "-v", *ward.tls(), *keys, *at)
    print(f"{COUNT} answers in {time.monotonic() - began:.1f} s")
    assert told.count("Find Response: ") == COUNT
