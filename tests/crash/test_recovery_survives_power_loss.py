"""Power loss at every step of a way back: shares made, used, a passphrase changed, shares made anew, forgotten.

At each position the provider's file is the old one or the new one, and somebody opens it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crash.disk import Disk
from crash.recorder import Record, Recorder
from helpers.guard_house import CHEAP, PASSPHRASE
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.provider import FileKeyProvider
from ribcage.crypto.recovery import new_pair

SECOND, THIRD = b"another horse, another battery", b"the third of the passphrases"
DICE = 12
TESTS = Path(__file__).resolve().parents[1]
NAMES = ("first", "second", "third", "shares", "new shares")
# Who opens the file before the first step and after each: nobody else may, and never nobody.
OPENERS = (
    {"first"},
    {"first", "shares"},  # made
    {"second", "shares"},  # used
    {"third", "shares"},  # passphrase changed
    {"third", "new shares"},  # made anew
    {"third"},  # forgotten
)

# Each step is done when the line was written; the next one begins when an answer came.
_LIFE = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from ribcage.crypto import provider as providers
from ribcage.crypto.recovery import RecoveryKey
path, synced = Path(sys.argv[1]) / "provider.json", sys.argv[2] == "synced"
first, second, third = (each.encode() for each in sys.argv[3:6])
private, public, other = (bytes.fromhex(each) for each in sys.argv[6:9])
if not synced:
    providers.os = SimpleNamespace(**vars(os) | {"fsync": lambda descriptor: None})
def done():
    print("done", flush=True)
    sys.stdin.readline()
provider = providers.FileKeyProvider.open(path, first)
provider.set_recovery(first, RecoveryKey(public, 2, 3, 0))
done()
providers.FileKeyProvider.recover(path, private).change_passphrase(second)
done()
provider = providers.FileKeyProvider.open(path, second)
provider.change_passphrase(third)
done()
provider.set_recovery(third, RecoveryKey(other, 3, 5, 0))
done()
provider.set_recovery(third, None)
done()
"""


@dataclass
class Life:
    """One recorded run; `at` are the positions at which the steps were acknowledged."""

    disk: Disk
    records: list[Record]
    keys: tuple[bytes, bytes]
    slot: str
    wrapped: bytes
    folder: Path
    at: list[int] = field(default_factory=list)


def _live(library: Path, folder: Path, synced: str) -> Life:
    root = folder / "keys"
    root.mkdir(parents=True)
    provider = FileKeyProvider.create(root / "provider.json", PASSPHRASE, CHEAP)
    slot = provider.generate()
    wrapped = provider.wrap(slot, b"k" * 32, b"")
    (private, public), (other_private, other) = new_pair(), new_pair()
    disk = Disk(root)
    recorder = Recorder(library, root, folder / "trace")
    passphrases = [each.decode() for each in (PASSPHRASE, SECOND, THIRD)]
    keys = [each.hex() for each in (private, public, other)]
    at = []
    with subprocess.Popen(
        [sys.executable, "-c", _LIFE, str(root), synced, *passphrases, *keys],
        env=dict(os.environ, PYTHONPATH=str(TESTS), **recorder.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in OPENERS[1:]:
            assert process.stdout.readline() == "done\n"
            at.append(recorder.position)
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    recorder.close()
    return Life(disk, recorder.records(), (private, other_private), slot, wrapped, folder, at)


def _every_position(life: Life) -> Iterator[tuple[int, str]]:
    """Look after each operation, with several dice; yields what is wrong."""
    for position in range(len(life.records) + 1):
        life.disk.advance(life.records[position - 1 : position] if position else [], position)
        done = sum(1 for acknowledged in life.at if position >= acknowledged)
        allowed = OPENERS[done : done + 2]
        for seed in range(DICE):
            left = life.folder / f"left-{position}-{seed}"
            life.disk.write(left, random.Random(seed * 100_003 + position))
            openers = _openers(life, left / "provider.json")
            if openers not in allowed:
                yield position, f"after {done} steps it opens by {sorted(openers)}"


def _openers(life: Life, path: Path) -> set[str]:
    ways = [
        *(
            lambda passphrase=each: FileKeyProvider.open(path, passphrase)
            for each in (PASSPHRASE, SECOND, THIRD)
        ),
        *(lambda private=each: FileKeyProvider.recover(path, private) for each in life.keys),
    ]
    found = set()
    for name, way in zip(NAMES, ways, strict=True):
        try:
            provider = way()
            assert provider.unwrap(life.slot, life.wrapped, b"") == b"k" * 32
            _ = provider.recovery
        except CryptoError:
            continue
        found.add(name)
    return found


def test_somebody_opens_the_file_after_power_loss_at_any_step(library: Path, place: Path) -> None:
    life = _live(library, place / "recovery-life", "synced")
    assert sorted(set(life.at)) == life.at
    assert life.at[-1] <= len(life.records)
    assert list(_every_position(life)) == []


def test_a_file_not_synced_is_found(library: Path, place: Path) -> None:
    life = _live(library, place / "recovery-life-unsynced", "unsynced")
    assert list(_every_position(life)) != []
