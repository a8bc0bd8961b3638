"""Golden evidence: leaves, entries of every shape, a tree, tiles, checkpoint, cosignature, receipt, bundle."""

from __future__ import annotations

import hashlib
from typing import Any

from ribcage.evidence import audit_event as ae
from ribcage.evidence.certificate import DestroyedObject, Destruction, certificate_hash, make_certificate
from ribcage.evidence.checkpoint import Checkpoint, CheckpointSigner, Witness, add_signature, log_origin
from ribcage.evidence.fork import Fork, make_fork, next_origin
from ribcage.evidence.leaf import make_leaf
from ribcage.evidence.merkle import CompactRange, consistency_path, inclusion_path
from ribcage.evidence.proof import make_bundle
from ribcage.evidence.receipt import Receipt, issue
from ribcage.evidence.tiles import entries_path, tile_path
from ribcage.evidence.witness_protocol import AddCheckpoint

HOSPITAL = bytes(range(16))
LOG_SEED = bytes(range(32))
WITNESS_SEED = bytes(range(32, 64))
RECEIPT_KEY = bytes(range(64, 96))
MOMENT = 1_750_000_000_000  # Unix milliseconds
DEVICE = ae.DeviceActor(b"\x21" * 32, "192.0.2.7", "CT_ROOM_1")
PERSON = ae.PersonActor(b"\x22" * 16, "2001:db8::1", 2)
STUDY, PATIENT, OBJECT, DISCLOSURE = b"\x23" * 16, b"\x24" * 16, b"\x25" * 16, b"\x26" * 16
EVENTS: tuple[ae.Event, ...] = (
    ae.ApplicationActivity(ae.SystemActor("guard"), "start", "0.1.0", ("embedded",)),
    ae.InstanceStored(DEVICE, OBJECT, hashlib.sha256(b"data set").digest(), STUDY, 524_288),
    ae.DisclosureAllowed(
        PERSON, DISCLOSURE, STUDY, PATIENT, "full", "TREAT", "dicomweb", 12, "grant", 9, MOMENT + 900_000, 3
    ),
    ae.DisclosureRefused(DEVICE, None, None, "full", "TREAT", "dimse", "not_permitted"),
    ae.QueryAnswered(PERSON, "dicomweb", "study", ("PatientName",), (STUDY,), 1, False),
)


def make() -> dict[str, Any]:
    """Everything of docs/formats.md section 5 that a second implementation can check."""
    nodes: dict[tuple[int, int], bytes] = {}
    tree, leaves, opened = CompactRange(), [], []
    for number, event in enumerate(EVENTS):
        body, salt = ae.entry_body(event, ae.Stamp(MOMENT + number, HOSPITAL)), bytes([number]) * 32
        data, leaf = make_leaf(body, salt)
        nodes.update({(level, index): node for level, index, node in tree.append_nodes(leaf)})
        opened.append((body, salt))
        leaves.append(
            {
                "body": body.decode(),
                "salt": salt.hex(),
                "leaf_data": data.hex(),
                "leaf_hash": leaf.hex(),
                "root": tree.root().hex(),
                "description": ae.describe(body),
            }
        )
    signer = CheckpointSigner(log_origin(HOSPITAL), LOG_SEED)
    witness = Witness("witness.example/1", WITNESS_SEED, signer.verifier_key)
    checkpoint = signer.sign(tree.size, tree.root())
    cosigned = add_signature(checkpoint, witness.update(checkpoint, [], MOMENT // 1000))

    def read(level: int, index: int) -> bytes:
        return nodes[level, index]

    body, salt = opened[2]
    path = inclusion_path(read, 2, tree.size)
    bundle = make_bundle(
        body=body, salt=salt, index=2, path=path, checkpoint=cosigned, verifier_key=signer.verifier_key
    )
    return {
        "leaves": leaves,
        "inclusion_path_of_2": [each.hex() for each in path],
        "consistency_path_3_to_5": [each.hex() for each in consistency_path(read, 3, 5)],
        "tile_paths": [tile_path(0, 1234), tile_path(1, 5, 112), entries_path(1_234_067)],
        "log_seed": LOG_SEED.hex(),
        "verifier_key": signer.verifier_key,
        "checkpoint": checkpoint.decode(),
        "witness_seed": WITNESS_SEED.hex(),
        "witness_key": witness.key.encode(),
        "cosigned_checkpoint": cosigned.decode(),
        "bundle": bundle.decode(),
        "certificate": _certificate(signer),
        "add_checkpoint": _add_checkpoint(signer, nodes, tree).decode(),
        "fork": _fork(signer, nodes, tree).decode(),
        "receipt_key": RECEIPT_KEY.hex(),
        "receipt": _receipt(nodes[0, 2]).hex(),
    }


def _add_checkpoint(
    signer: CheckpointSigner, nodes: dict[tuple[int, int], bytes], tree: CompactRange
) -> bytes:
    path = consistency_path(lambda level, index: nodes[level, index], 3, tree.size)
    return AddCheckpoint(3, tuple(path), signer.sign(tree.size, tree.root())).encode()


def _fork(signer: CheckpointSigner, nodes: dict[tuple[int, int], bytes], tree: CompactRange) -> bytes:
    origin = signer.key.name
    successor = CheckpointSigner(next_origin(origin), bytes(range(96, 128)))
    restored = CompactRange.resume(lambda level, index: nodes[level, index], 3)
    fork = Fork(
        old=Checkpoint(origin, tree.size, tree.root()),
        restored=Checkpoint(origin, restored.size, restored.root()),
        new_key=successor.key,
        reason="disk-lost",
        approved_by=(b"\x27" * 16, b"\x28" * 16),
        time_ms=MOMENT,
    )
    return make_fork(fork, successor)


def _certificate(signer: CheckpointSigner) -> dict[str, str]:
    note = make_certificate(
        Destruction(
            number=1,
            hospital=HOSPITAL,
            hospital_name="Example",
            reason="retention-end",
            asked_ms=MOMENT,
            asked_by=b"\x27" * 16,
            approved_ms=MOMENT + 1,
            approved_by=b"\x28" * 16,
            done_ms=MOMENT + 2,
            study=STUDY,
            objects=(DestroyedObject(OBJECT, hashlib.sha256(b"data set").digest()),),
            parked=0,
            patient_key_too=True,
            epoch=1,
            new_epoch=2,
            survivors=3,
            provider="file",
            slot="kek-0",
            provider_statement="removed",
        ),
        signer,
    )
    return {"note": note.decode(), "sha256": certificate_hash(note).hex()}


def _receipt(leaf: bytes) -> bytes:
    return issue(
        RECEIPT_KEY,
        Receipt(
            kind="disclose",
            disclosure=DISCLOSURE,
            principal=hashlib.sha256(b"session").digest(),
            resource=STUDY,
            view="full",
            purpose="TREAT",
            issued_at_ms=MOMENT + 2,
            expires_at_ms=MOMENT + 900_000,
            log_index=2,
            leaf=leaf,
        ),
    )
