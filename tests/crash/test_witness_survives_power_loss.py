"""Whatever line a witness handed out, power loss leaves in its memory."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from crash.disk import Disk
from crash.recorder import Recorder
from ribcage.evidence.checkpoint import Checkpoint, CheckpointSigner, log_origin
from ribcage.evidence.note import Note
from ribcage.oversight.witness.errors import WitnessHomeUnusable
from ribcage.oversight.witness.memory import WitnessMemory

SIGNER = CheckpointSigner(log_origin(b"\x01" * 16), b"\x02" * 32)
_CHECKPOINTS = 12
_LIFE = """
import os, sys
from pathlib import Path
from ribcage.evidence.checkpoint import CheckpointSigner, Cosigner, log_origin
from ribcage.evidence.merkle import CompactRange, consistency_path, leaf_hash
from ribcage.evidence.witness_protocol import AddCheckpoint
from ribcage.oversight.witness import memory as module

if sys.argv[2] == "planted":
    connect = module._connect
    def careless(path):
        link = connect(path)
        link.execute("PRAGMA synchronous = OFF")
        return link
    module._connect = careless
signer = CheckpointSigner(log_origin(b"\\x01" * 16), b"\\x02" * 32)
memory = module.WitnessMemory.create(Path(sys.argv[1]))
memory.trust(signer.key)
tree, nodes = CompactRange(), {}
for size in range(1, 13):
    nodes.update({(level, index): node for level, index, node in tree.append_nodes(leaf_hash(bytes([size])))})
    path = consistency_path(lambda level, index: nodes[level, index], size - 1, size)
    asked = AddCheckpoint(size - 1, tuple(path), signer.sign(size, tree.root()))
    memory.add(asked, Cosigner("witness.example/1", b"\\x04" * 32), size)
    (Path(sys.argv[1]).parent / f"told-{size}").mkdir()  # stands in the recording: the line has left
"""


def _record(library: Path, folder: Path, mode: str) -> tuple[Disk, Recorder]:
    (folder / "disk").mkdir(parents=True)
    disk = Disk(folder / "disk")
    recorder = Recorder(library, folder / "disk", folder / "trace")
    command = [sys.executable, "-c", _LIFE, str(folder / "disk" / "memory.db"), mode]
    subprocess.run(command, check=True, env=os.environ | recorder.environment, timeout=120)
    return disk, recorder


def _remembered(home: Path) -> list[Checkpoint]:
    """What the memory holds, newest last; its two tables agree."""
    memory = WitnessMemory(home / "memory.db")
    try:
        log = memory.logs().get(SIGNER.key.name)
        heads = [Checkpoint.parse(Note.parse(each.note).text) for each in memory.history(SIGNER.key.name)]
    finally:
        memory.close()
    assert (log.size if log else 0) == (heads[-1].size if heads else 0)
    return heads


def _forgotten(disk: Disk, recorder: Recorder, folder: Path) -> int:
    """At how many moments power loss took a line that had left."""
    records, lost = recorder.records(), 0
    said = {
        each.position: int(each.names[0].rpartition("told-")[2])
        for each in records
        if each.names and "told-" in each.names[0]
    }
    assert len(said) == _CHECKPOINTS
    for number, position in enumerate(sorted(said)):
        disk.advance(records, position)
        left = folder / f"left-{number}"
        disk.write(left, random.Random(number))
        try:
            heads = _remembered(left)
        except (WitnessHomeUnusable, AssertionError):
            heads = []
        lost += [each.size for each in heads][: said[position]] != list(range(1, said[position] + 1))
    return lost


def test_every_line_that_left_is_remembered_after_power_loss(library: Path, place: Path) -> None:
    folder = place / "witness"
    assert _forgotten(*_record(library, folder, "as it is"), folder) == 0


def test_a_witness_that_does_not_sync_is_found(library: Path, place: Path) -> None:
    folder = place / "witness-planted"
    assert _forgotten(*_record(library, folder, "planted"), folder) > 0
