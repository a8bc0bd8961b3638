"""Epochs of the log: a lawful restore starts a new one, so that the old key never signs a second history.

Rules, in order:
1. Epoch 1 has the origin `ribcage.local/HOSPITAL` and the service key "checkpoint". Epoch n has the origin
   `ribcage.local/HOSPITAL/n` and a key derived from it, the number and 16 random bytes: two restores of one old
   key store never share a key.
2. A checkpoint of size s is signed in the newest epoch that begins below s.
3. Each epoch names the one it was restored from. The signers of a history are those of its own line; keys of
   abandoned lines still verify what was signed with them, and no number is used twice.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from ribcage.crypto.derive import derive
from ribcage.crypto.errors import KeyStoreFailure, KeyUnknown
from ribcage.evidence.checkpoint import CheckpointSigner, log_origin
from ribcage.guard.keyring import Keyring

_BLOB = "log-epoch"
_NONCE_BYTES = 16


@dataclass(frozen=True)
class LogEpoch:
    """`start`: size of the log when it began; `parent`: the epoch of what was restored."""

    number: int
    start: int
    nonce: bytes
    parent: int


class LogEpochs:
    """The signers of one log, oldest first."""

    def __init__(self, hospital: bytes, key: bytes, epochs: tuple[LogEpoch, ...] = ()) -> None:
        """`key`: the service key "checkpoint" (32 bytes). `epochs`: those after the first, the newest last."""
        first = LogEpoch(1, 0, b"", 0)
        self._all = {each.number: _signer(hospital, key, each) for each in (first, *epochs)}
        known = {each.number: each for each in (first, *epochs)}
        line = [epochs[-1] if epochs else first]
        while line[-1].number > 1:
            line.append(known[line[-1].parent])
        self.line = tuple(reversed(line))

    @property
    def number(self) -> int:
        """The present epoch, 1 or more."""
        return self.line[-1].number

    @property
    def highest(self) -> int:
        """The highest number that was ever given."""
        return max(self._all)

    @property
    def signer(self) -> CheckpointSigner:
        """Signs in the present epoch."""
        return self._all[self.number]

    def verifier_key(self, size: int) -> str:
        """The key that signs checkpoints of `size` entries."""
        begun = [each.number for each in self.line if size > each.start]
        return self._all[begun[-1] if begun else 1].verifier_key

    @property
    def verifier_keys(self) -> list[str]:
        """All keys of this archive, abandoned ones too."""
        return [each.verifier_key for each in self._all.values()]


def _signer(hospital: bytes, key: bytes, epoch: LogEpoch) -> CheckpointSigner:
    if epoch.number == 1:
        return CheckpointSigner(log_origin(hospital), key)
    seed = derive(key, "log-epoch", epoch.number.to_bytes(8, "big") + epoch.nonce)
    return CheckpointSigner(f"{log_origin(hospital)}/{epoch.number}", seed)


def load_epochs(keyring: Keyring, hospital: bytes) -> LogEpochs:
    """As the key store has them. Raises KeyStoreFailure."""
    return LogEpochs(hospital, keyring.service("checkpoint"), _stored(keyring))


def begin_epoch(keyring: Keyring, number: int, start: int, parent: int) -> None:
    """Begin epoch `number` at `start` entries of epoch `parent`, durably; one that was begun stays as it is."""
    known = _stored(keyring)
    if any(each.number == number for each in known):
        return
    begun = LogEpoch(number, start, os.urandom(_NONCE_BYTES), parent)
    rows = [[each.number, each.start, each.nonce.hex(), each.parent] for each in [*known, begun]]
    keyring.store_blob(_BLOB, json.dumps({"version": 1, "epochs": rows}).encode())


def _stored(keyring: Keyring) -> tuple[LogEpoch, ...]:
    try:
        held = json.loads(keyring.load_blob(_BLOB))
        return tuple(
            LogEpoch(int(n), int(start), bytes.fromhex(nonce), int(parent))
            for n, start, nonce, parent in held["epochs"]
        )
    except KeyUnknown:
        return ()
    except (ValueError, KeyError, TypeError) as failure:
        raise KeyStoreFailure(
            "the key store's list of log epochs is damaged: restore its own backup"
        ) from failure
