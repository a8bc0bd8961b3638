"""Vectors of a backup's manifest and of the log's epochs (docs/formats.md 5.3, 5.9)."""

from __future__ import annotations

import hashlib
from typing import Any

from ribcage.evidence.backup_manifest import FILES, FileFacts, Manifest, manifest_hash, sign_manifest
from ribcage.evidence.checkpoint import CheckpointSigner, log_origin
from ribcage.guard.log_epochs import LogEpoch, LogEpochs

HOSPITAL = bytes(range(16))
LOG_SEED = bytes(range(32))
MOMENT = 1_750_000_000_000  # Unix milliseconds


def make() -> dict[str, Any]:
    """Everything derives from fixed seeds and times."""
    signer = CheckpointSigner(log_origin(HOSPITAL), LOG_SEED)
    manifest = Manifest(
        hospital=HOSPITAL,
        generation=7,
        time_ms=MOMENT,
        checkpoint=signer.sign(3, hashlib.sha256(b"root").digest()),
        log_size=3,
        log_epoch=1,
        ledger_height=2,
        key_epoch=1,
        objects=1,
        octets=12,
        files={name: FileFacts(len(name), hashlib.sha256(name.encode()).digest()) for name in FILES},
        previous=hashlib.sha256(b"manifest 6").hexdigest(),
    )
    note = sign_manifest(manifest, signer)
    epochs = (LogEpoch(2, 100, b"\x29" * 16, 1), LogEpoch(3, 80, b"\x2a" * 16, 1))
    history = LogEpochs(HOSPITAL, LOG_SEED, epochs)
    return {
        "hospital": HOSPITAL.hex(),
        "log_seed": LOG_SEED.hex(),
        "manifest": note.decode(),
        "manifest_hash": manifest_hash(note),
        "epochs": [[each.number, each.start, each.nonce.hex(), each.parent] for each in epochs],
        "verifier_keys": history.verifier_keys,
        "key_of_size": {str(size): history.verifier_key(size) for size in (1, 80, 81, 101)},
    }
