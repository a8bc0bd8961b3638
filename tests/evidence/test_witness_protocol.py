"""The witness protocol: every wrong request has its own answer, and no order of requests makes two histories."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.evidence import witness_protocol as wp
from ribcage.evidence.checkpoint import (
    Checkpoint,
    CheckpointSigner,
    Cosigner,
    log_origin,
    verify_cosignatures,
)
from ribcage.evidence.merkle import (
    CompactRange,
    consistency_path,
    leaf_hash,
    tree_root,
    verify_consistency,
)
from ribcage.evidence.note import Note

SIGNER = CheckpointSigner(log_origin(b"\x01" * 16), b"\x02" * 32)
STRANGER = CheckpointSigner(log_origin(b"\x01" * 16), b"\x03" * 32)
COSIGNER = Cosigner("witness.example/1", b"\x04" * 32)
NODES: dict[bytes, dict[tuple[int, int], bytes]] = {}
for side in (b"left", b"right"):  # two histories that part at entry 20
    tree, NODES[side] = CompactRange(), {}
    for number in range(40):
        word = side if number >= 20 else b"both"
        appended = tree.append_nodes(leaf_hash(word + bytes([number])))
        NODES[side].update({(level, index): node for level, index, node in appended})


def nodes(side: bytes):
    return lambda level, index: NODES[side][level, index]


def root(size: int, side: bytes = b"left") -> bytes:
    return tree_root(nodes(side), size)


def request(
    old: int, size: int, side: bytes = b"left", signer: CheckpointSigner = SIGNER
) -> wp.AddCheckpoint:
    path = consistency_path(nodes(side), min(old, size), size)
    return wp.AddCheckpoint(old, tuple(path), signer.sign(size, root(size, side)))


def remembered(size: int, side: bytes = b"left") -> wp.LogMemory:
    return wp.LogMemory(SIGNER.key, size, root(size, side) if size else wp.EMPTY_ROOT)


def test_a_request_survives_encoding_and_what_continues_is_taken() -> None:
    asked = request(7, 30)
    again = wp.AddCheckpoint.parse(asked.encode())
    assert again == asked
    assert again.origin == SIGNER.key.name
    assert wp.judge(remembered(7), again) == Checkpoint(SIGNER.key.name, 30, root(30))
    assert wp.judge(remembered(0), request(0, 30)).size == 30
    assert wp.judge(remembered(30), request(30, 30)).size == 30


@pytest.mark.parametrize(
    ("memory", "asked", "answer"),
    [
        (None, request(7, 30), wp.LogUnknown),
        (replace(remembered(7), closed="ribcage.local/x/2"), request(7, 30), wp.LogClosed),
        (remembered(7), request(7, 30, signer=STRANGER), wp.KeyRefused),
        (remembered(35), wp.AddCheckpoint(35, (), request(7, 30).note), wp.RequestMalformed),
        (remembered(9), request(7, 30), wp.SizeConflict),  # the log believes an older size
        (remembered(35), request(7, 30), wp.SizeConflict),  # a log that was rolled back
        (remembered(30), request(30, 30, b"right"), wp.RootConflict),
        (remembered(25), request(25, 30, b"right"), wp.ProofRefused),
        (remembered(7), replace(request(7, 30), path=()), wp.ProofRefused),
        (remembered(0), replace(request(0, 30), path=(bytes(32),)), wp.ProofRefused),
    ],
)
def test_each_wrong_request_has_its_answer(
    memory: wp.LogMemory | None, asked: wp.AddCheckpoint, answer: type[wp.WitnessRefused]
) -> None:
    with pytest.raises(answer) as refused:
        wp.judge(memory, asked)
    error = refused.value
    with pytest.raises(answer) as told:  # what the log learns from status, type and body is the same class
        wp.read_answer(error.status, error.content_type, error.body)
    if isinstance(error, wp.SizeConflict) and memory is not None:
        assert isinstance(told.value, wp.SizeConflict)
        assert told.value.size == error.size == memory.size


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"old 7\n",
        b"old 07\n\n" + request(7, 30).note,
        b"old -1\n\n" + request(7, 30).note,
        b"old 9223372036854775807\n\n" + request(7, 30).note,
        b"new 7\n\n" + request(7, 30).note,
        b"old 7\nAAAA\n\n" + request(7, 30).note,
        b"old 7\n" + b"A" * 43 + b"=\r\n\n" + request(7, 30).note,
        b"old 7\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + request(7, 30).note,
        b"old 7\n\n" + request(7, 30).note.replace(b"\n30\n", b"\n030\n"),
        b"old 7\n\n" + bytes(wp.MAX_REQUEST_BYTES),
    ],
)
def test_malformed_requests_are_refused_whole(data: bytes) -> None:
    with pytest.raises(wp.RequestMalformed):
        wp.AddCheckpoint.parse(data)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_request_or_malformed(noise: bytes, place: int, byte: int) -> None:
    whole = bytearray(request(7, 30).encode())
    whole[place % len(whole)] = byte
    for data in (noise, bytes(whole), b"old 1\n\n" + noise):
        try:
            asked = wp.AddCheckpoint.parse(data)
        except wp.RequestMalformed:
            continue
        assert wp.AddCheckpoint.parse(asked.encode()) == asked
        try:
            head = wp.judge(remembered(7), asked)
        except wp.WitnessRefused:
            continue
        verify_consistency(7, root(7), head.size, head.root, asked.path)
        assert head.root == root(head.size)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40), st.sampled_from([b"left", b"right"]))))
@settings(max_examples=100, deadline=None)
def test_no_order_of_requests_makes_two_histories(asked: list[tuple[int, int, bytes]]) -> None:
    memory, signed = remembered(0), dict[int, bytes]()
    for old, size, side in asked:
        old = memory.size if old % 2 else old  # half of them know what the witness remembers
        try:
            head = wp.judge(memory, request(old, size, side))
        except wp.WitnessRefused:
            continue
        assert head.size >= memory.size
        assert signed.setdefault(head.size, head.root) == head.root
        memory = replace(memory, size=head.size, root=head.root)
    for side in (b"left", b"right"):
        if all(each == root(size, side) for size, each in signed.items()):
            return
    pytest.fail("the witness signed heads of both histories")


def test_answers_are_read_strictly() -> None:
    note = request(7, 30).note
    line = COSIGNER.sign(Note.parse(note).text, 1_750_000_000)
    assert wp.read_answer(200, "text/plain", line.encode()) == (line,)
    whole = note + line.encode()
    assert verify_cosignatures(whole, [COSIGNER.key], 1) == {COSIGNER.key.name: 1_750_000_000}
    for status, kind, body in [
        (200, "", b""),
        (200, "", line.encode().rstrip()),
        (200, "", b"\xff\n"),
        (200, "", line.encode() * 65),
        (409, wp.SIZE_TYPE, b"-1\n"),
        (409, wp.SIZE_TYPE, b"x" * 70_000),
        (500, "", b""),
        (302, "", b""),
    ]:
        with pytest.raises(wp.WitnessBusy):
            wp.read_answer(status, kind, body)
