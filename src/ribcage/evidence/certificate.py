"""The certificate of destruction: what was destroyed, how, by whom, which backups it reaches (docs/formats.md 5.6).

Rules, in order:
1. It is a signed note by the log's key: a title line, then canonical JSON on one line. No patient, no UID.
2. It says what is not destroyed as plainly as what is (NIST SP 800-88r2, cryptographic erase: every copy of the key).
3. Its SHA-256 stands in the log's entry and in the ledger's tombstone, so that neither can be exchanged later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ribcage.evidence import merkle
from ribcage.evidence.checkpoint import CheckpointSigner
from ribcage.evidence.document import read_document
from ribcage.evidence.entry import ENTRY_VERSION, Json, canonical
from ribcage.evidence.note import VerifierKey

TITLE = "ribcage certificate of destruction v1"
_TECHNIQUE = "wraps removed, survivors moved to a new epoch, old epoch key destroyed, files and rows removed"
_STANDARD = "NIST SP 800-88r2, cryptographic erase; DICOM PS3.15 A.5.3.8"
_HORIZON = (
    "Copies of the key store made in this epoch or before open none of its keys with the key provider as it is now. "
    "Backups of the data keep sealed bytes for which no key exists."
)
_PROVIDER_COPY = (
    "An older copy of the file provider's own state, with the passphrase of its day, still opens its slot."
)


@dataclass(frozen=True)
class DestroyedObject:
    """One sealed object: its id (16 bytes) and the SHA-256 of its data set."""

    object_id: bytes
    data_set_sha256: bytes


@dataclass(frozen=True)
class Destruction:
    """What the certificate states. Times in Unix milliseconds; ids of 16 bytes are pseudonyms, as in the log."""

    number: int
    hospital: bytes
    hospital_name: str
    reason: str
    asked_ms: int
    asked_by: bytes
    approved_ms: int
    approved_by: bytes
    done_ms: int
    study: bytes
    objects: tuple[DestroyedObject, ...]
    parked: int
    patient_key_too: bool
    epoch: int
    new_epoch: int
    survivors: int
    provider: str
    slot: str
    provider_statement: str


def objects_root(objects: tuple[DestroyedObject, ...]) -> bytes:
    """RFC 9162 Merkle root over `object id ‖ data set SHA-256`, in the order of object ids."""
    tree = merkle.CompactRange()
    for each in sorted(objects, key=lambda one: one.object_id):
        tree.append(merkle.leaf_hash(each.object_id + each.data_set_sha256))
    return tree.root()


def make_certificate(destruction: Destruction, signer: CheckpointSigner) -> bytes:
    """The signed certificate."""
    return signer.sign_text(f"{TITLE}\n{canonical(_document(destruction)).decode()}\n")


def certificate_hash(note: bytes) -> bytes:
    """What entry and tombstone name."""
    return hashlib.sha256(note).digest()


def read_certificate(note: bytes, key: VerifierKey | str) -> Json:
    """The document of a certificate signed by `key`. Raises NoteMalformed, CheckpointForged, EntryInvalid."""
    return read_document(note, key, TITLE, ("certificate", "certificate of destruction"))


def _document(d: Destruction) -> Json:
    return {
        "backup_horizon": {
            "epoch": d.epoch,
            "exception": _PROVIDER_COPY if d.provider == "file" else "",
            "ms": d.done_ms,
            "statement": _HORIZON,
        },
        "method": {
            "algorithm": "AES-256-GCM, key of 256 random bits for each study, never stored unwrapped",
            "epoch": d.epoch,
            "key_level": "study key, wrapped by the epoch key alone",
            "new_epoch": d.new_epoch,
            "patient_key_too": d.patient_key_too,
            "provider": d.provider,
            "provider_statement": d.provider_statement,
            "slot": d.slot,
            "standard": _STANDARD,
            "survivors_rewrapped": d.survivors,
            "technique": _TECHNIQUE,
        },
        "number": d.number,
        "organisation": {"id": d.hospital.hex(), "name": d.hospital_name},
        "request": {
            "approved_by": d.approved_by.hex(),
            "approved_ms": d.approved_ms,
            "asked_by": d.asked_by.hex(),
            "asked_ms": d.asked_ms,
            "reason": d.reason,
        },
        "scope": {
            "instances": len(d.objects),
            "level": "study",
            "objects_root": objects_root(d.objects).hex(),
            "parked": d.parked,
            "study": d.study.hex(),
        },
        "verification": {
            "method": "each key was asked for afterwards; the key store and the provider refused",
            "ms": d.done_ms,
            "result": "no key opens",
        },
        "version": ENTRY_VERSION,
    }
