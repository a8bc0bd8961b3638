"""Vectors of `docs/formats.md` section 12: one entry of an edge and the archive's receipt for it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from ribcage.crypto import hybrid, sealing
from ribcage.crypto.signing import Signer
from ribcage.evidence.checkpoint import CheckpointSigner
from ribcage.evidence.edge_entry import EntryContext, EntryFront, EntryHeader, key_info
from ribcage.evidence.edge_receipt import EdgeReceipt, sign_receipt

SEED = bytes(range(96))  # the archive's private half
KEY, HOSPITAL = bytes(range(32, 64)), bytes(range(16))
EDGE, DEVICE, OBJECT, TAG = (bytes([n] * 16) for n in (0xE1, 0xD1, 0x0B, 0x7A))
SALT, PREFIX = bytes(range(64, 96)), bytes(range(96, 103))
EDGE_SEED, LOG_SEED = bytes(range(128, 160)), bytes(range(160, 192))
TAKEN_MS, ANSWERED_MS = 1_767_225_600_000, 1_767_225_601_000
CONTEXT = EntryContext(
    "DX1", "EDGE1", "192.0.2.7", "1.2.840.10008.5.1.4.1.1.1.1", "2.25.17", "1.2.840.10008.1.2.1"
)
DATA_SET = bytes(range(256)) * 3
# Encapsulating draws random numbers that cannot be given: this wrapped key was made once, and opens for ever.
WRAPPED = Path(__file__).with_name("edge_wrapped.txt")


def header() -> tuple[EntryHeader, bytes]:
    """The header and the sealed bytes."""
    archive_key = hybrid.key_id(hybrid.HybridPrivate(SEED).public_key)
    envelope = sealing.Envelope(sealing.Stream.OTHER, 0, HOSPITAL, archive_key, OBJECT)
    sealed = sealing.seal(KEY, envelope, CONTEXT.encode() + DATA_SET, _salt=SALT, _prefix=PREFIX)
    digests = hashlib.sha256(DATA_SET).digest(), hashlib.sha256(sealed).digest()
    return EntryHeader(EDGE, DEVICE, archive_key, OBJECT, TAG, 7, TAKEN_MS, len(sealed), *digests), sealed


def make() -> dict[str, Any]:
    """Everything in hex; the receipt is text."""
    head, sealed = header()
    wrapped = base64.b64decode(WRAPPED.read_text())
    front = EntryFront.sign(head, wrapped, Signer(EDGE_SEED))
    receipt = EdgeReceipt.of(front, HOSPITAL, ANSWERED_MS, "taken")
    signer = CheckpointSigner("ribcage.local/vectors", LOG_SEED)
    return {
        "private_seed": SEED.hex(),
        "public_key": hybrid.HybridPrivate(SEED).public_key.hex(),
        "edge_seed": EDGE_SEED.hex(),
        "edge_public_key": Signer(EDGE_SEED).public_key.hex(),
        "object_key": KEY.hex(),
        "hospital": HOSPITAL.hex(),
        "key_info": key_info(head).hex(),
        "context": CONTEXT.encode().hex(),
        "data_set": DATA_SET.hex(),
        "header": head.encode().hex(),
        "entry": (front.encode() + sealed).hex(),
        "log_key": signer.key.encode(),
        "receipt": sign_receipt(receipt, signer).decode(),
    }
