"""When `ribcage init` has said that the archive is made, power loss leaves it there: settings and root included."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from crash.disk import Disk
from crash.recorder import Recorder
from helpers.guard_house import PASSPHRASE, running
from ribcage.cli import settings
from ribcage.crypto.provider import FileKeyProvider
from ribcage.guard import protocol as p
from ribcage.guard.keyring import Keyring
from ribcage.guard.place import read_facts

_DICE = 12
_CHEAP = """
import sys
from ribcage.cli import main
from ribcage.crypto import provider
provider.Argon2Parameters.__init__.__defaults__ = (64, 1, 1)  # guesses may be cheap here
sys.exit(main.main(sys.argv[1:]))
"""


def _init(home: Path, environment: dict[str, str]) -> None:
    read, write = os.pipe()
    os.write(write, PASSPHRASE)
    os.close(write)
    words = ["init", "--home", str(home), "--passphrase-fd", str(read)]
    command = [sys.executable, "-c", _CHEAP, *words]
    subprocess.run(
        command, check=True, pass_fds=(read,), env=os.environ | environment, stdout=subprocess.DEVNULL
    )
    os.close(read)


async def _opens(home: Path) -> None:
    async with running(home) as house:
        status = await house.admin.call(p.GetStatus(), p.Status)
        assert status.findings == []


@pytest.mark.parametrize("below", ["home", "srv/ribcage/home"])
def test_new_home_survives_power_loss_after_init(below: str, library: Path, place: Path) -> None:
    folder = place / f"init-{below.count('/')}"
    (folder / "disk").mkdir(parents=True)
    disk = Disk(folder / "disk")
    recorder = Recorder(library, folder / "disk", folder / "trace")
    _init(folder / "disk" / below, recorder.environment)
    records = recorder.records()
    disk.advance(records, len(records))
    for number in range(_DICE):
        left = folder / f"left-{number}"
        disk.write(left, random.Random(number))
        home = left / below
        settings.load(home)
        asyncio.run(_opens(home))
        root = home.with_name("home-root")
        apart = FileKeyProvider.open(root / "provider.json", PASSPHRASE)
        Keyring.open(root / "keystore.db", apart, read_facts(home).hospital).close()
        assert (root / "root.pem").read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
