"""Whatever break-glass was answered in a fault, power loss leaves its record in the emergency journal."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from crash.disk import Disk
from crash.recorder import Recorder
from ribcage.guard.emergency import EmergencyJournal

KEY, HOSPITAL = bytes(range(32)), bytes(range(16))
_RECORDS = 12
_LIFE = """
import sys
from pathlib import Path
from ribcage.guard import emergency

if sys.argv[2] == "planted":
    emergency.os.fdatasync = lambda _descriptor: None
folder = Path(sys.argv[1])
journal = emergency.EmergencyJournal(folder, bytes(range(32)), bytes(range(16)), 0, expected=False)
for number in range(12):
    journal.append(b"record %d" % number)
    (folder / f"told-{number}").mkdir()  # stands in the recording: the answer has left
"""


def _record(library: Path, folder: Path, mode: str) -> tuple[Disk, Recorder]:
    (folder / "disk").mkdir(parents=True)
    disk = Disk(folder / "disk")
    recorder = Recorder(library, folder / "disk", folder / "trace")
    command = [sys.executable, "-c", _LIFE, str(folder / "disk"), mode]
    subprocess.run(command, check=True, env=os.environ | recorder.environment, timeout=120)
    return disk, recorder


def _forgotten(disk: Disk, recorder: Recorder, folder: Path) -> int:
    """At how many moments power loss took a record whose answer had left, or made the journal look changed."""
    records, lost = recorder.records(), 0
    told = {
        each.position: int(each.names[0].rpartition("told-")[2])
        for each in records
        if each.names and "told-" in each.names[0]
    }
    assert len(told) == _RECORDS
    for number, position in enumerate(sorted(told)):
        disk.advance(records, position)
        left = folder / f"left-{number}"
        disk.write(left, random.Random(number))
        journal = EmergencyJournal(left, KEY, HOSPITAL, 0, expected=True)
        expected = {n: b"record %d" % n for n in range(told[position] + 1)}
        lost += journal.broken_at >= 0 or not journal.pending.items() >= expected.items()
        journal.close()
    return lost


def test_every_record_that_was_answered_is_there_after_power_loss(library: Path, place: Path) -> None:
    folder = place / "emergency"
    assert _forgotten(*_record(library, folder, "as it is"), folder) == 0


def test_a_journal_that_does_not_sync_is_found(library: Path, place: Path) -> None:
    folder = place / "emergency-planted"
    assert _forgotten(*_record(library, folder, "planted"), folder) > 0
