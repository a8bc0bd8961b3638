"""From another host only the shield answers, while Orthanc listens on all addresses (network namespaces)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.archive import Archive
from helpers.guard_house import CHEAP, PASSPHRASE
from helpers.namespaces import Cable, Host, why_not
from helpers.shielded import AE_TITLE, CALLING, NakedOrthanc, need_orthanc
from ribcage.cli import settings
from ribcage.guard.home import HomePlan, create_home
from ribcage.oversight.studies import make_study
from ribcage.transfer.shield.firewall import ruleset
from system.senders import SUCCESS, instance_of, send

pytestmark = pytest.mark.peers
OUTSIDE, MACHINE = "10.77.3.1", "10.77.3.2"
PACS_DICOM, PACS_HTTP = 4242, 8042
NFT = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
_LISTENS = "0A"  # TCP_LISTEN in /proc/net/tcp


class OpenOrthanc(NakedOrthanc):
    """At its usual ports; HTTP is for everybody too, as DICOM always is."""

    def _configuration(self) -> dict[str, object]:
        self._dicom_port, self._http_port = PACS_DICOM, PACS_HTTP
        return super()._configuration() | {"RemoteAccessAllowed": True}


@dataclass
class Site:
    """The PACS's machine with Orthanc and the shield on it, and a host elsewhere."""

    elsewhere: Host
    machine: Host
    orthanc: OpenOrthanc
    shield: Archive

    def answering(self) -> set[int]:
        """Ports that a connection from elsewhere reaches, of all that anything listens on here."""
        heard = self.machine.inside(listening)
        return {port for port in heard if self.elsewhere.inside(lambda port=port: reaches(port))}


def listening() -> set[int]:
    """TCP ports with a listener in this thread's network, by the kernel's own table."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTENS}


def reaches(port: int) -> bool:
    """Is a connection to the machine taken?"""
    try:
        socket.create_connection((MACHINE, port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_orthanc()
    if NFT is None and os.environ.get("CI"):
        pytest.fail("nft is not installed: .ci/run installs it")
    if reason := why_not() or ("" if NFT else "nft is not installed: apt-get install nftables"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("site")
    hosts = Host("o"), Host("p")
    elsewhere, machine = hosts
    try:
        Cable(elsewhere, OUTSIDE, machine, MACHINE)
        orthanc = machine.inside(lambda: OpenOrthanc(folder / "it"))
        shield = Archive(folder / "shield")
        try:
            shield.folder.mkdir()
            plan = HomePlan("Test Hospital", cost=CHEAP, addresses=["127.0.0.1", MACHINE])
            create_home(shield.home, shield.folder / "root", PASSPHRASE, plan)
            listen = settings.Listen(MACHINE, 2762, MACHINE, 8443)
            before = settings.Shield("127.0.0.1", PACS_DICOM, AE_TITLE, CALLING)
            wanted = settings.Settings(hospital="Test", fronts=1, listen=listen, shield=before)
            settings.save(shield.home, wanted)
            machine.inside(shield.start)
            yield Site(elsewhere, machine, orthanc, shield)
        finally:
            shield.stop()
            orthanc.stop()
    finally:
        for host in hosts:
            host.close()


def test_from_outside_only_the_shield_answers_once_its_rules_are_loaded(site: Site, tmp_path: Path) -> None:
    study = make_study(84, 1)
    modality = site.shield.device("cr1", "CR1", "store")
    assert site.answering() == {
        2762,
        8443,
        PACS_DICOM,
        PACS_HTTP,
    }  # the control: whoever is near asks Orthanc itself
    pacs = settings.load(site.shield.home).shield.pacs()
    assert pacs is not None and NFT is not None
    rules = tmp_path / "rules.nft"
    rules.write_text(ruleset(pacs, [PACS_HTTP], [os.geteuid()]))
    command = [NFT, "-f", str(rules)]
    loaded = site.machine.inside(
        lambda: subprocess.run(command, capture_output=True, timeout=30, check=False)
    )
    if b"Operation not permitted" in loaded.stderr:
        pytest.skip("this kernel lets nobody use nftables here")
    assert loaded.returncode == 0, loaded.stderr
    assert {PACS_DICOM, PACS_HTTP} <= site.machine.inside(listening)
    assert site.answering() == {2762, 8443}
    assert site.elsewhere.inside(lambda: send(site.shield, modality, instance_of(study.file))) == SUCCESS
    stored = site.machine.inside(lambda: site.orthanc.file(study.instance_uid))
    assert instance_of(stored).data_set == instance_of(study.file).data_set
