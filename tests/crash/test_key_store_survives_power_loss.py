"""Power loss at every single step of a key's life: new keys, destruction with its epoch, a new passphrase.

At each position the key store opens; what was acknowledged holds; in between it is the old state or the new one.
"""

from __future__ import annotations

import json
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
from ribcage.crypto.errors import CryptoError, KeyDestroyed, KeyUnknown, WrongPassphrase
from ribcage.crypto.provider import FileKeyProvider
from ribcage.guard.keyring import Keyring

HOSPITAL = b"h" * 16
NEW_PASSPHRASE = b"another horse, another battery"
KEYS, KEPT = 6, 3
DICE = 12
TESTS = Path(__file__).resolve().parents[1]

# Each step is done when the line was written; the next one begins when an answer came.
_LIFE = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
from ribcage.crypto import provider as providers
from ribcage.guard.keyring import Keyring
folder, old, new, synced = Path(sys.argv[1]), sys.argv[2].encode(), sys.argv[3].encode(), sys.argv[4] == "synced"
if not synced:
    providers.os = SimpleNamespace(**vars(os) | {"fsync": lambda descriptor: None})
provider = providers.FileKeyProvider.open(folder / "provider.json", old)
keyring = Keyring.open(folder / "keystore.db", provider, b"h" * 16)
def done(said):
    print(json.dumps(said), flush=True)
    sys.stdin.readline()
owners = [b"owner%d" % number for number in range(%d)]
made = [keyring.new_key("study", owner) for owner in owners]
keyring.flush()
done({key_id.hex(): key.hex() for key_id, key in made})
keep = {key_id for key_id, _ in made[:%d]}
keyring.new_epoch_and_destroy_old(lambda key_id, kind, context: key_id in keep)
done("destroyed")
provider.change_passphrase(new)
done("passphrase")
"""


@dataclass
class Life:
    """One recorded run."""

    disk: Disk
    records: list[Record]
    keys: dict[bytes, bytes]
    stored: int  # positions at which the three steps were acknowledged
    destroyed: int
    changed: int
    folder: Path
    wrong: list[str] = field(default_factory=list)


def _live(library: Path, folder: Path, synced: str) -> Life:
    root = folder / "keys"
    root.mkdir(parents=True)
    provider = FileKeyProvider.create(root / "provider.json", PASSPHRASE, CHEAP)
    Keyring.create(root / "keystore.db", provider, HOSPITAL).close()
    disk = Disk(root)
    recorder = Recorder(library, root, folder / "trace")
    script = _LIFE.replace("range(%d)", f"range({KEYS})").replace("[:%d]", f"[:{KEPT}]")
    command = [sys.executable, "-c", script, str(root), PASSPHRASE.decode(), NEW_PASSPHRASE.decode(), synced]
    said, at = [], []
    with subprocess.Popen(
        command,
        env=dict(os.environ, PYTHONPATH=str(TESTS), **recorder.environment),
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
    keys = {bytes.fromhex(key_id): bytes.fromhex(key) for key_id, key in said[0].items()}
    return Life(disk, recorder.records(), keys, at[0], at[1], at[2], folder)


def _every_position(life: Life) -> Iterator[tuple[int, str]]:
    """Look after each operation, with several dice; yields what is wrong."""
    for position in range(len(life.records) + 1):
        life.disk.advance(life.records[position - 1 : position] if position else [], position)
        for seed in range(DICE):
            left = life.folder / f"left-{position}-{seed}"
            life.disk.write(left, random.Random(seed * 100_003 + position))
            for each in _look(life, left, position):
                yield position, each


def _look(life: Life, left: Path, position: int) -> Iterator[str]:
    try:
        provider, passphrase = _open_provider(left / "provider.json")
        keyring = Keyring.open(left / "keystore.db", provider, HOSPITAL)
    except CryptoError as failure:
        yield f"does not open: {type(failure).__name__}: {failure}"
        return
    if position >= life.changed and passphrase != NEW_PASSPHRASE:
        yield "the old passphrase opens again"
    fate = [_fate(keyring, key_id, number, key) for number, (key_id, key) in enumerate(life.keys.items())]
    keyring.close()
    allowed = []
    if position < life.stored:
        allowed.append(["unknown"] * KEYS)
    if position < life.destroyed:
        allowed.append(["there"] * KEYS)
    if position >= life.stored:
        allowed.append(["there"] * KEPT + ["destroyed"] * (KEYS - KEPT))
    if fate not in allowed:
        yield f"keys are {fate}"


def _open_provider(path: Path) -> tuple[FileKeyProvider, bytes]:
    try:
        return FileKeyProvider.open(path, NEW_PASSPHRASE), NEW_PASSPHRASE
    except WrongPassphrase:
        return FileKeyProvider.open(path, PASSPHRASE), PASSPHRASE


def _fate(keyring: Keyring, key_id: bytes, number: int, key: bytes) -> str:
    try:
        return "there" if keyring.key(key_id, "study", b"owner%d" % number) == key else "another key"
    except KeyDestroyed:
        return "destroyed"
    except KeyUnknown:
        return "unknown"


def test_key_store_opens_after_power_loss_at_any_step_of_a_destruction(library: Path, place: Path) -> None:
    life = _live(library, place / "key-life", "synced")
    assert life.stored < life.destroyed < life.changed <= len(life.records)
    assert list(_every_position(life)) == []


def test_provider_file_not_synced_is_found(library: Path, place: Path) -> None:
    life = _live(library, place / "key-life-unsynced", "unsynced")
    assert any(position >= life.destroyed for position, _ in _every_position(life))
