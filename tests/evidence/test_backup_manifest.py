"""A manifest is what the archive signed, spelled one way, or it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ribcage.evidence.backup_manifest import (
    FILES,
    FileFacts,
    Manifest,
    parse_manifest,
    read_manifest,
    sign_manifest,
)
from ribcage.evidence.checkpoint import Checkpoint, CheckpointSigner, log_origin
from ribcage.evidence.errors import CheckpointForged, EvidenceError, NoteMalformed
from ribcage.evidence.note import Note

SIGNER = CheckpointSigner(log_origin(bytes(16)), bytes(32))
MANIFEST = Manifest(
    hospital=bytes(16),
    generation=1,
    time_ms=1_750_000_000_000,
    checkpoint=SIGNER.sign(1, bytes(32)),
    log_size=1,
    log_epoch=1,
    ledger_height=1,
    key_epoch=1,
    objects=0,
    octets=0,
    files=dict.fromkeys(FILES, FileFacts(1, bytes(32))),
)
NOTE = sign_manifest(MANIFEST, SIGNER)


def test_what_was_signed_is_read_again() -> None:
    assert read_manifest(NOTE, [SIGNER.verifier_key]) == MANIFEST
    vectors = json.loads((Path(__file__).parents[1] / "vectors" / "backup.json").read_text())
    assert read_manifest(vectors["manifest"].encode(), vectors["verifier_keys"]).generation == 7


def test_another_archives_manifest_is_refused() -> None:
    other = CheckpointSigner(log_origin(bytes([1] * 16)), bytes(32))
    with pytest.raises(CheckpointForged, match="another hospital"):
        read_manifest(NOTE, [other.verifier_key])
    impostor = CheckpointSigner(SIGNER.key.name, bytes([1] * 32))
    with pytest.raises(CheckpointForged):
        read_manifest(sign_manifest(MANIFEST, impostor), [SIGNER.verifier_key])


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, flip: int) -> None:
    changed = bytearray(NOTE)
    changed[place] ^= flip
    with pytest.raises(EvidenceError):
        read_manifest(bytes(changed), [SIGNER.verifier_key])


def test_a_manifest_is_no_checkpoint_and_a_checkpoint_no_manifest() -> None:
    """One key signs both."""
    with pytest.raises(NoteMalformed):
        Checkpoint.parse(Note.parse(NOTE).text)
    with pytest.raises(NoteMalformed):
        read_manifest(SIGNER.sign(1, bytes(32)), [SIGNER.verifier_key])


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../../etc/passwd": FileFacts(1, bytes(32))}},
        {"files": {}},
        {"previous": "x"},
        {"generation": -1},
        {"time_ms": 1 << 52},
    ],
)
def test_what_a_manifest_may_not_say(change: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        parse_manifest(replace(MANIFEST, **change).text())  # type: ignore[arg-type]  # wrong on purpose


def test_another_spelling_is_refused() -> None:
    title, line, _ = MANIFEST.text().split("\n")
    for text in (f"{title}\n {line}\n", f"{title}\n{line}", f"{title}\n{line}\n\n", line):
        with pytest.raises(EvidenceError):
            parse_manifest(text)
