"""Modality, edge and archive, each on a host of its own (network namespaces): cut wires, kills, and who listens."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.archive import Archive
from helpers.edge_house import EDGE_AE, MODALITY, QUICK, EdgeProcess
from helpers.guard_house import CHEAP, PASSPHRASE
from helpers.namespaces import Cable, Host, why_not
from helpers.raw_scu import AssociationFailed, RawAssociation
from ribcage.cli import settings
from ribcage.evidence.edge_receipt import read_receipt
from ribcage.evidence.note import VerifierKey
from ribcage.guard import protocol as p
from ribcage.guard.home import HomePlan, create_home
from ribcage.oversight.drill.attackers.search import Search
from ribcage.oversight.studies import Study, make_study
from ribcage.transfer.edge.limits import EdgeLimits
from ribcage.transfer.edge.spool import read_receipts
from system.senders import SUCCESS, instance_of

MODALITY_ADDRESS, EDGE_INSIDE = "10.77.1.1", "10.77.1.2"
EDGE_OUTSIDE, ARCHIVE_ADDRESS = "10.77.2.1", "10.77.2.2"
STORESCU, ECHOSCU = "/usr/bin/storescu", "/usr/bin/echoscu"
_DEADLINE_SECONDS = 900.0
_PER_ASSOCIATION = 20


@dataclass
class Site:
    """Three hosts, two cables: the first is the modality's own, the second the hospital's network."""

    archive: Archive
    edge: EdgeProcess
    hosts: tuple[Host, Host, Host]
    own: Cable
    network: Cable

    def start_archive(self) -> None:
        self.hosts[2].inside(self.archive.start)

    def start_edge(self) -> None:
        self.hosts[1].inside(self.edge.start)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if reason := why_not():
        pytest.skip(reason)
    hosts = (Host("m"), Host("e"), Host("a"))
    try:
        own = Cable(hosts[0], MODALITY_ADDRESS, hosts[1], EDGE_INSIDE)
        network = Cable(hosts[1], EDGE_OUTSIDE, hosts[2], ARCHIVE_ADDRESS)
        archive = Archive(tmp_path / "archive")
        archive.folder.mkdir()
        plan = HomePlan("Test Hospital", cost=CHEAP, addresses=["127.0.0.1", ARCHIVE_ADDRESS])
        create_home(archive.home, archive.folder / "root", PASSPHRASE, plan)
        listen = settings.Listen(ARCHIVE_ADDRESS, 2762, ARCHIVE_ADDRESS, 8443)
        settings.save(archive.home, settings.Settings(hospital="Test", fronts=1, listen=listen))
        limits = {
            **{name: getattr(QUICK, name) for name in QUICK.__dataclass_fields__},
            "answer_seconds": 3.0,
        }
        edge = EdgeProcess(
            tmp_path / "edge", limits=EdgeLimits(**limits), address=EDGE_INSIDE, isolated=EDGE_INSIDE
        )
        made = Site(archive, edge, hosts, own, network)
        made.start_archive()
        edge.create()
        edge.enrol(archive, url=f"https://{ARCHIVE_ADDRESS}:8443", **{MODALITY: MODALITY_ADDRESS})
        made.start_edge()
        try:
            yield made
        finally:
            edge.stop()
            archive.stop()
    finally:
        for host in hosts:
            host.close()


class Modality:
    """Sends each film until it was told success, some in each association, like a device that never gives up."""

    def __init__(self, site: Site, films: Sequence[Study]) -> None:
        self._site, self._films = site, films
        self.sent = 0
        self.hashes: set[bytes] = set()
        self.failure: BaseException | None = None
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def until(self, count: int) -> None:
        """Until so many were answered with success."""
        with self._more:
            good = self._more.wait_for(lambda: self.sent >= count or self.failure, _DEADLINE_SECONDS)
        assert good and self.failure is None, self.failure

    def join(self) -> None:
        self._thread.join(_DEADLINE_SECONDS)
        assert self.failure is None and self.sent == len(self._films)

    def _run(self) -> None:
        try:
            while self.sent < len(self._films):
                self._site.hosts[0].inside(self._some)
        except BaseException as failure:
            self.failure = failure
        with self._more:
            self._more.notify_all()

    def _some(self) -> None:
        batch = self._films[self.sent : self.sent + _PER_ASSOCIATION]
        instances = [instance_of(each.file) for each in batch]
        contexts = sorted({(one.sop_class, (one.transfer_syntax,)) for one in instances})
        try:
            with RawAssociation(
                self._site.edge.dicom, contexts, calling=MODALITY, called=EDGE_AE, timeout_seconds=20
            ) as link:
                for one in instances:
                    status = link.store(one.sop_class, one.uid, one.data_set, one.transfer_syntax)
                    assert status == SUCCESS
                    self.hashes.add(hashlib.sha256(one.data_set).digest())
                    with self._more:
                        self.sent += 1
                        self._more.notify_all()
        except (OSError, AssociationFailed):
            threading.Event().wait(0.1)  # the edge is dead just now: what was not answered is sent again


def search_for(films: Sequence[Study]) -> Search:
    words = [(*each.identity.needles(), each.instance_uid, each.study_uid) for each in films]
    return Search([*words, (MODALITY, EDGE_AE)])


def journey(site: Site, tmp_path: Path, count: int, kills: int) -> None:
    """All films arrive once, bit for bit; no name on network or disk; on the modality's own wire, all of them."""
    dice = random.Random(18)  # which film is in hand when the edge dies
    films = [make_study(180, number) for number in range(1, count + 1)]
    plain, network = site.own.tap(), site.network.tap()
    modality = Modality(site, films)
    site.network.cut()
    modality.start()
    deaths = sorted(dice.sample(range(1, count), kills))
    middle = deaths[len(deaths) // 2]
    for at in deaths:
        modality.until(at)
        threading.Event().wait(dice.random() * 0.05)
        site.edge.kill()
        if at == middle:
            stolen = tmp_path / "stolen"
            shutil.copytree(site.edge.home, stolen)
            assert len(list((stolen / "spool").glob("*.entry"))) >= at  # all of them wait: the network is cut
            search = search_for(films)
            search.feed_folder(stolen)
            assert search.found == set()
            site.network.mend()
        site.start_edge()
        if at == middle:
            site.hosts[1].inside(lambda: site.edge.until(lambda told: told["last_receipt"] > 0))
            site.archive.kill()
            site.start_archive()
    modality.join()
    site.hosts[1].inside(lambda: site.edge.until_sent(_DEADLINE_SECONDS))
    status = site.archive.ask(p.GetStatus(), p.Status)
    assert (status.instances, status.parked) == (count, 0)
    assert site.edge.enrolment is not None
    key = VerifierKey.parse(site.edge.enrolment.log_key)
    receipts = [read_receipt(note, key) for _, note in read_receipts(site.edge.home)]
    numbers = [each.header.sequence for each in receipts]
    assert numbers == list(range(1, len(numbers) + 1)) and {each.outcome for each in receipts} == {"taken"}
    assert {each.header.data_set_sha256 for each in receipts} == modality.hashes
    assert len(modality.hashes) == count and site.archive.verify().clean
    site.edge.stop()
    for folder in (site.edge.home, site.archive.home):
        search = search_for(films)
        search.feed_folder(folder)
        assert search.found == set(), folder
    heard = search_for(films)
    for stream in network.stop():
        heard.feed(stream)
    assert heard.found == set() and heard.searched_bytes > count * 1000
    control = search_for(films)
    for stream in plain.stop():
        control.feed(stream)
    assert control.found == set(range(count + 1))


@pytest.mark.peers
def test_dcmtk_as_a_plain_modality_is_answered_by_the_edge_and_held_by_the_archive(
    site: Site, tmp_path: Path
) -> None:
    if not Path(STORESCU).exists():
        if os.environ.get("CI"):
            pytest.fail("DCMTK is not installed: .ci/run installs it")
        pytest.skip("DCMTK is not installed: apt-get install dcmtk")
    address, port = site.edge.dicom
    films = [make_study(181, number) for number in (1, 2)]
    files = []
    for number, each in enumerate(films):
        files.append(tmp_path / f"{number}.dcm")
        files[-1].write_bytes(each.file)

    def dcmtk(tool: str, calling: str, called: str, *words: str) -> int:
        where = ["ip", "netns", "exec", site.hosts[0].name, tool, "-to", "10"]
        command = [*where, "-aet", calling, "-aec", called, address, str(port), *words]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode

    assert dcmtk(ECHOSCU, MODALITY, EDGE_AE) == 0
    assert dcmtk(ECHOSCU, "SOMEBODY", EDGE_AE) != 0
    assert dcmtk(ECHOSCU, MODALITY, "SOMEWHERE") != 0
    assert dcmtk(STORESCU, MODALITY, EDGE_AE, *map(str, files)) == 0
    site.hosts[1].inside(site.edge.until_sent)
    assert site.archive.ask(p.GetStatus(), p.Status).instances == 2
    assert site.edge.enrolment is not None
    key = VerifierKey.parse(site.edge.enrolment.log_key)
    taken = {read_receipt(note, key).header.data_set_sha256 for _, note in read_receipts(site.edge.home)}
    assert taken == {hashlib.sha256(instance_of(each.file).data_set).digest() for each in films}


@pytest.mark.peers
def test_forty_films_over_a_cut_network_and_kills_arrive_once_and_unread(site: Site, tmp_path: Path) -> None:
    journey(site, tmp_path, 40, 3)


@pytest.mark.soak
def test_a_thousand_films_over_a_cut_network_and_twenty_kills(site: Site, tmp_path: Path) -> None:
    journey(site, tmp_path, 1000, 20)
