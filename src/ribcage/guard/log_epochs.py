"""Epochs of the log: a lawful restore starts a new one, so that the old key never signs a second history.

Rules, in order:
1. Epoch 1 has the origin `ribcage.local/HOSPITAL` and the service key "checkpoint". Epoch n has the origin
   `ribcage.local/HOSPITAL/n` and a key derived from it, the number and 16 random bytes: two restores of one old
   key store never share a key.
2. A checkpoint of size s is signed in the newest epoch that begins below s.
3. An epoch that began at or after the size restored now is of no history any more; its number is not used again.
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
    """`start`: size of the log when it began."""

    number: int
    start: int
    nonce: bytes


class LogEpochs:
    """The signers of one log, oldest first."""

    def __init__(self, hospital: bytes, key: bytes, epochs: tuple[LogEpoch, ...] = ()) -> None:
        """`key`: the service key "checkpoint" (32 bytes). `epochs`: those after the first."""
        self.epochs = epochs
        self._signers = [(0, CheckpointSigner(log_origin(hospital), key))]
        for each in epochs:
            context = each.number.to_bytes(8, "big") + each.nonce
            seed = derive(key, "log-epoch", context)
            signer = CheckpointSigner(f"{log_origin(hospital)}/{each.number}", seed)
            self._signers.append((each.start, signer))

    @property
    def number(self) -> int:
        """The present epoch, 1 or more."""
        return self.epochs[-1].number if self.epochs else 1

    @property
    def signer(self) -> CheckpointSigner:
        """Signs in the present epoch."""
        return self._signers[-1][1]

    def verifier_key(self, size: int) -> str:
        """The key that signs checkpoints of `size` entries."""
        return next(
            signer for start, signer in reversed(self._signers) if size > start or start == 0
        ).verifier_key

    @property
    def verifier_keys(self) -> list[str]:
        """All keys of this history, oldest first."""
        return [signer.verifier_key for _, signer in self._signers]


def load_epochs(keyring: Keyring, hospital: bytes) -> LogEpochs:
    """As the key store has them. Raises KeyStoreFailure."""
    return LogEpochs(hospital, keyring.service("checkpoint"), _stored(keyring))


def begin_epoch(keyring: Keyring, start: int, above: int = 1) -> LogEpoch:
    """Begin an epoch at `start` entries, durably; its number is above all that the key store knows and `above`."""
    known = _stored(keyring)
    number = max([above, *(each.number for each in known)]) + 1
    begun = LogEpoch(number, start, os.urandom(_NONCE_BYTES))
    kept = [each for each in known if each.start < start]
    rows = [[each.number, each.start, each.nonce.hex()] for each in [*kept, begun]]
    keyring.store_blob(_BLOB, json.dumps({"version": 1, "epochs": rows}).encode())
    return begun


def _stored(keyring: Keyring) -> tuple[LogEpoch, ...]:
    try:
        held = json.loads(keyring.load_blob(_BLOB))
        return tuple(LogEpoch(int(n), int(start), bytes.fromhex(nonce)) for n, start, nonce in held["epochs"])
    except KeyUnknown:
        return ()
    except (ValueError, KeyError, TypeError) as failure:
        raise KeyStoreFailure(
            "the key store's list of log epochs is damaged: restore its own backup"
        ) from failure
