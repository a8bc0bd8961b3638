"""The certificate of destruction, checked by the library and by the stand-alone program."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ribcage.evidence import audit_event as ae
from ribcage.evidence.certificate import (
    DestroyedObject,
    Destruction,
    certificate_hash,
    make_certificate,
    objects_root,
    read_certificate,
)
from ribcage.evidence.checkpoint import CheckpointSigner, log_origin, verify_checkpoint
from ribcage.evidence.errors import CheckpointForged, EvidenceError
from ribcage.evidence.proof import make_bundle

TOOL = Path(__file__).parents[2] / "tools" / "verify_certificate.py"
STAMP = ae.Stamp(1_800_000_000_000, bytes(16))
OTHER = CheckpointSigner(log_origin(b"\x01" * 16), b"\x07" * 32)
DESTRUCTION = Destruction(
    number=1,
    hospital=bytes(16),
    hospital_name="Test",
    reason="retention-end",
    asked_ms=1,
    asked_by=b"\x01" * 16,
    approved_ms=2,
    approved_by=b"\x02" * 16,
    done_ms=3,
    study=b"\x03" * 16,
    objects=(DestroyedObject(b"\x05" * 16, b"\x06" * 32), DestroyedObject(b"\x04" * 16, b"\x07" * 32)),
    parked=1,
    patient_key_too=True,
    epoch=4,
    new_epoch=5,
    survivors=9,
    provider="file",
    slot="kek-1",
    provider_statement="removed",
)


def event(note: bytes, **changed: object) -> ae.StudyDestroyed:
    told = ae.StudyDestroyed(
        ae.SystemActor("guard"), b"\x03" * 16, b"\x09" * 16, 2, 4, certificate_hash(note), b"\x08" * 32, (7,)
    )
    return replace(told, **changed)


def judged(folder: Path, note: bytes, bundle: bytes, key: str) -> subprocess.CompletedProcess[str]:
    (folder / "certificate.txt").write_bytes(note)
    (folder / "proof.json").write_bytes(bundle)
    command = [sys.executable, "-I", str(TOOL), "certificate.txt", "proof.json", "--key", key]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def prove(make_log, body_of):
    """`(note, bundle, key)`: a log in which the entry that `body_of(note)` gives stands between two others."""
    signer = make_log([b"{}"]).signer
    note = make_certificate(DESTRUCTION, signer)
    log = make_log([b'{"a":1}', ae.entry_body(body_of(note), STAMP), b'{"b":2}'])
    body, salt = log.entries[1]
    bundle = make_bundle(
        body=body,
        salt=salt,
        index=1,
        path=log.path(1),
        checkpoint=log.head(),
        verifier_key=signer.verifier_key,
    )
    return note, bundle, signer.verifier_key


def test_a_certificate_and_its_entry_are_proven_offline(make_log, tmp_path):
    note, bundle, key = prove(make_log, event)
    done = judged(tmp_path, note, bundle, key)
    assert (done.returncode, done.stderr) == (0, "")
    assert "epoch 4 and earlier are gone" in done.stdout
    assert "except: An older copy of the file provider" in done.stdout
    assert read_certificate(note, key)["scope"]["objects_root"] == objects_root(DESTRUCTION.objects).hex()


@pytest.mark.parametrize(
    "changed",
    [
        {"certificate": b"\x0a" * 32},
        {"epoch": 3},
        {"instances": 3},
        {"study": b"\x0b" * 16},
        {"parked_entries": ()},
        {"transaction": None},
    ],
    ids=lambda each: next(iter(each)),
)
def test_an_entry_that_tells_of_something_else_proves_nothing(make_log, tmp_path, changed):
    done = judged(tmp_path, *prove(make_log, lambda note: event(note, **changed)))
    assert done.returncode == 1
    assert "NOT PROVEN: certificate and log entry differ" in done.stderr


def test_a_changed_certificate_proves_nothing(make_log, tmp_path):
    note, bundle, key = prove(make_log, event)
    forged = note.replace(b'"instances":2', b'"instances":1')
    assert forged != note
    assert "does not verify" in judged(tmp_path, forged, bundle, key).stderr
    with pytest.raises(EvidenceError):
        read_certificate(forged, key)
    stranger = make_certificate(DESTRUCTION, OTHER)
    assert "not signed by the key you gave" in judged(tmp_path, stranger, bundle, key).stderr
    with pytest.raises(EvidenceError):
        read_certificate(stranger, key)


def test_a_certificate_is_no_checkpoint_and_a_checkpoint_no_certificate(make_log):
    log = make_log([b"{}"])
    key = log.signer.verifier_key
    with pytest.raises(EvidenceError):
        verify_checkpoint(make_certificate(DESTRUCTION, log.signer), key)
    with pytest.raises(CheckpointForged):
        read_certificate(log.head(), key)


def test_the_objects_root_does_not_depend_on_their_order():
    assert objects_root(DESTRUCTION.objects) == objects_root(DESTRUCTION.objects[::-1])
