"""The firewall's file in a network namespace of the test's own: who reaches the old PACS, and who does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ribcage.transfer.errors import SettingsRefused
from ribcage.transfer.limits import OldPacs
from ribcage.transfer.shield.firewall import ruleset

NFT = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
_PACS = OldPacs("127.0.0.1", 4242, "ORTHANC")
_TRY = """
import os, socket, subprocess, sys
nft, rules = sys.argv[1:]
def run(*words): subprocess.run(words, check=True, timeout=20)
"pacs".encode("idna")  # loaded before it may no longer be read
run("ip", "link", "set", "lo", "up")
held = [socket.create_server(("0.0.0.0", port)) for port in (4242, 2762)]
def reaches(user, port, address="127.0.0.1"):
    child = os.fork()
    if not child:
        os.setuid(user)
        try:
            socket.create_connection((address, port), 2).close()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0
before = reaches(0, 4242), reaches(65534, 4242)
run(nft, "-f", rules)
run(nft, "-f", rules)
after = reaches(0, 4242), reaches(65534, 4242), reaches(65534, 2762)
print(before, after)
"""


def _nft() -> str:
    if NFT is None:
        if os.environ.get("CI"):
            pytest.fail("nft is not installed: .ci/run installs it")
        pytest.skip("nft is not installed: apt-get install nftables")
    return NFT


@pytest.mark.parametrize(
    "pacs", [_PACS, OldPacs("10.9.8.7", 104, "OLD", isolated=True), OldPacs("::1", 104, "OLD")]
)
def test_nft_parses_what_is_written(pacs: OldPacs, tmp_path: Path) -> None:
    rules = tmp_path / "rules.nft"
    rules.write_text(ruleset(pacs, [8042], [0, 1000]))
    if os.geteuid() != 0:
        pytest.skip("nft asks the kernel even to parse: needs root")
    done = subprocess.run(
        ["unshare", "-n", _nft(), "-c", "-f", str(rules)], capture_output=True, timeout=30, check=False
    )
    if b"Operation not permitted" in done.stderr or b"Unable to initialize" in done.stderr:
        pytest.skip("this kernel lets nobody use nftables here")
    assert done.returncode == 0, done.stderr


def test_another_user_of_this_machine_does_not_reach_the_pacs(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("makes a network namespace: needs root")
    rules = tmp_path / "rules.nft"
    rules.write_text(ruleset(_PACS, [8042], [0]))
    command = ["unshare", "-n", sys.executable, "-c", _TRY, _nft(), str(rules)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this kernel lets nobody make a namespace here")
    assert done.stdout.strip() == "(True, True) (True, False, True)", done.stderr


@pytest.mark.parametrize(
    ("address", "isolated", "stands"),
    [
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, False),
        ("10.1.2.3", True, True),
        ("8.8.8.8", True, False),
        ("0.0.0.0", True, False),
        ("pacs.example.org", True, False),
    ],
)
def test_plain_goes_to_loopback_or_one_isolated_address(address: str, isolated: bool, stands: bool) -> None:
    pacs = OldPacs(address, 104, "OLD", isolated=isolated)
    if stands:
        pacs.check()
    else:
        with pytest.raises(SettingsRefused):
            pacs.check()
