"""Fork statements: only the one form, only by the new key, only forwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.evidence.checkpoint import Checkpoint, CheckpointSigner, log_origin
from ribcage.evidence.errors import CheckpointForged, EvidenceError, NoteMalformed
from ribcage.evidence.fork import Fork, make_fork, next_origin, read_fork, split_origin

ORIGIN = log_origin(b"\x01" * 16)
NEW = CheckpointSigner(next_origin(ORIGIN), b"\x05" * 32)
FORK = Fork(
    old=Checkpoint(ORIGIN, 40, b"\x06" * 32),
    restored=Checkpoint(ORIGIN, 30, b"\x07" * 32),
    new_key=NEW.key,
    reason="disk-lost",
    approved_by=(b"\x08" * 16, b"\x09" * 16),
    time_ms=1_750_000_000_000,
)
STATEMENT = make_fork(FORK, NEW)


def test_a_statement_is_read_as_it_was_made() -> None:
    assert read_fork(STATEMENT) == FORK
    assert FORK.new_origin == f"{ORIGIN}/2"


def test_origins_count_on() -> None:
    assert split_origin(ORIGIN) == (ORIGIN, 1)
    assert next_origin(next_origin(ORIGIN)) == f"{ORIGIN}/3"
    for wrong in (
        "ribcage.local/x",
        f"{ORIGIN}/1",
        f"{ORIGIN}/02",
        f"{ORIGIN}/",
        "example.org/log",
        ORIGIN + "\n",
    ):
        with pytest.raises(NoteMalformed):
            split_origin(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"approved_by": (b"\x08" * 16, b"\x08" * 16)},  # one person twice
        {"approved_by": (b"\x08" * 32, b"\x09" * 32)},
        {"reason": "because of Mr. X"},
        {"time_ms": -1},
        {"restored": Checkpoint(ORIGIN, 41, b"\x07" * 32)},  # more than the witness saw
        {"restored": Checkpoint(ORIGIN, 40, b"\x07" * 32)},  # another log
        {"restored": Checkpoint(f"{ORIGIN}/2", 30, b"\x07" * 32)},
        {"old": Checkpoint(f"{ORIGIN}/2", 40, b"\x06" * 32)},
        {"old": Checkpoint(log_origin(b"\x02" * 16), 40, b"\x06" * 32)},
    ],
)
def test_a_statement_that_cannot_be_is_not_made(change: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        make_fork(replace(FORK, **change), NEW)


def test_another_key_signs_no_statement() -> None:
    other = CheckpointSigner(NEW.key.name, b"\x0a" * 32)
    with pytest.raises(CheckpointForged):
        make_fork(FORK, other)
    forged = STATEMENT.replace(NEW.key.encode().encode(), other.key.encode().encode())
    with pytest.raises(CheckpointForged):
        read_fork(forged)
    for origin in (ORIGIN, log_origin(b"\x02" * 16) + "/2", "example.org/log"):
        signer = CheckpointSigner(origin, b"\x05" * 32)
        with pytest.raises(EvidenceError):
            make_fork(replace(FORK, new_key=signer.key), signer)
    skipping = CheckpointSigner(f"{ORIGIN}/4", b"\x05" * 32)  # an epoch in between was given up
    assert read_fork(make_fork(replace(FORK, new_key=skipping.key), skipping)).new_origin == f"{ORIGIN}/4"


@given(st.integers(0, len(STATEMENT) - 1), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_no_changed_byte_is_read(place: int, byte: int) -> None:
    changed = bytearray(STATEMENT)
    if changed[place] == byte:
        return
    changed[place] = byte
    with pytest.raises(EvidenceError):
        read_fork(bytes(changed))
