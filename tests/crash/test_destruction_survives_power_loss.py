"""Power loss in a destruction: it is finished afterwards; what was certified is gone, the rest is whole."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from crash.destruction_life import DAYS_SECONDS, KEPT, OTHER, UID
from crash.disk import Disk
from crash.recorder import Record, Recorder
from helpers.guard_house import Clock, House, new_home, running
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.storage.objects import ObjectStore
from ribcage.storage.retrieve import ObjectReader

LOOKS = 24
TESTS = Path(__file__).resolve().parents[1]


@dataclass
class Destroyed:
    """One recorded destruction."""

    disk: Disk
    records: list[Record]
    device: p.Device
    note: bytes
    filled: int  # positions at which each step was acknowledged
    approved: int
    certified: int


def _record(library: Path, folder: Path, patch: str = "") -> Destroyed:
    folder.mkdir()
    home = new_home(folder)
    disk = Disk(home)
    recorder = Recorder(library, home, folder / "trace", 200)
    said, at = [], []
    with subprocess.Popen(
        [sys.executable, "-m", "crash.destruction_life", str(home)],
        env=dict(os.environ, PYTHONPATH=str(TESTS), RIBCAGE_TEST_PATCH=patch, **recorder.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in range(3):
            said.append(json.loads(process.stdout.readline()))
            at.append(recorder.position)
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    recorder.close()
    device = p.Device(bytes.fromhex(said[0]["fingerprint"]), "WS1", "127.0.0.1")
    return Destroyed(disk, recorder.records(), device, bytes.fromhex(said[2]["note"]), *at)


async def _look(life: Destroyed, home: Path, position: int) -> list[str]:
    clock, wrong = Clock(), []
    clock.ahead = DAYS_SECONDS  # no entry is from later than this
    async with running(home, clock=clock) as house:
        items = (await house.admin.call(p.DestructionPage(), p.DestructionItems)).items
        state = items[0].state if items else "nothing"
        if position >= life.approved and state not in ("approved", "executing", "done"):
            wrong.append(f"approved, is {state}")
        if position >= life.certified and state != "done":
            wrong.append(f"certified, is {state}")
        if position >= life.approved and await _held(life, house, home, UID):
            wrong.append("a closed study is disclosed")
        await house.admin.call(p.RunDestructions(), p.DestructionItems)
        if state in ("approved", "executing", "done"):
            certificate = await house.admin.call(p.GetCertificate(items[0].number), p.Certificate)
            if position >= life.certified and certificate.note != life.note:
                wrong.append("another certificate")
            if await _held(life, house, home, UID):
                wrong.append("destroyed, and disclosed")
            if len(list((home / "objects").rglob("*.rbc"))) != 1:
                wrong.append("the destroyed object's file is there")
        if await _held(life, house, home, KEPT) != [OTHER]:
            wrong.append("the neighbour is not whole")
        wrong += [f"verify: {each.where}: {each.found}" for each in await house.verify()]
    return wrong


async def _held(life: Destroyed, house: House, home: Path, study: str) -> list[bytes]:
    try:
        ask = p.Disclose(life.device, "dimse", study)
        disclosed = await house.front.call(ask, p.Disclosed)
        wanted = [ref.object_id for ref in disclosed.instances]
        opened = await house.front.call(p.Open(disclosed.receipt, life.device, wanted), p.Opened)
    except GuardRefused:
        return []
    found = []
    for each in opened.objects:
        with ObjectReader(ObjectStore(home / "objects"), each) as reader:
            found.append(reader.header())
    return found


def _looks(life: Destroyed, folder: Path, looks: int) -> list[str]:
    """What is wrong at random steps, the moment of the certificate among them."""
    dice = random.Random(5)
    steps = range(life.filled, len(life.records) + 1)
    wrong: list[str] = []
    for number, position in enumerate(sorted([*dice.sample(steps, looks - 1), life.certified])):
        life.disk.advance(life.records[life.disk.position : position], position)
        left = folder / f"left-{number}"
        left.mkdir()
        life.disk.write(left / "home", dice)
        try:
            found = asyncio.run(_look(life, left / "home", position))
        except Exception as failure:
            found = [f"cannot be looked at: {type(failure).__name__}: {failure}"]
        wrong += [f"{position}: {each}" for each in found]
    return wrong


def test_destruction_is_finished_after_power_loss_at_any_step(library: Path, place: Path) -> None:
    life = _record(library, place / "destruction")
    assert life.filled < life.approved < life.certified <= len(life.records)
    assert _looks(life, place / "destruction", LOOKS) == []


def test_unsynced_destruction_is_found(library: Path, place: Path) -> None:
    life = _record(library, place / "unsynced", "crash.plants.database_not_synced")
    assert _looks(life, place / "unsynced", LOOKS // 3)
