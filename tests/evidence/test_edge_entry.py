"""An edge's entry: a second implementation opens it, and whatever was changed is refused."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import fields, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from helpers import xwing
from ribcage.crypto import hybrid
from ribcage.crypto.errors import SealBroken
from ribcage.crypto.signing import Signer
from ribcage.evidence.checkpoint import CheckpointSigner
from ribcage.evidence.edge_entry import (
    FRONT_BYTES,
    HEADER_BYTES,
    EntryContext,
    EntryFront,
    EntryHeader,
    key_info,
    split_context,
)
from ribcage.evidence.edge_receipt import EdgeReceipt, check_receipt, read_receipt, sign_receipt
from ribcage.evidence.errors import EdgeEntryRefused, EvidenceError
from ribcage.evidence.note import VerifierKey

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "edge.json").read_text())
ENTRY = bytes.fromhex(VECTORS["entry"])
FRONT = EntryFront.parse(ENTRY[:FRONT_BYTES])
EDGE_KEY = bytes.fromhex(VECTORS["edge_public_key"])
LOG_KEY = VerifierKey.parse(VECTORS["log_key"])


def test_a_second_implementation_opens_the_entry() -> None:
    """From docs/formats.md 12 alone: struct, Ed25519, X-Wing, HKDF and AES-GCM."""
    assert (HEADER_BYTES, FRONT_BYTES) == (176, 1408)
    header, wrapped, signature, sealed = ENTRY[:176], ENTRY[176:1344], ENTRY[1344:1408], ENTRY[1408:]

    def field(value: bytes) -> bytes:
        return struct.pack(">I", len(value)) + value

    message = field(b"ribcage/edge/entry/v1") + field(header) + field(hashlib.sha256(wrapped).digest())
    Ed25519PublicKey.from_public_bytes(EDGE_KEY).verify(signature, message)
    assert header[112:144] == hashlib.sha256(bytes.fromhex(VECTORS["data_set"])).digest()
    assert header[144:176] == hashlib.sha256(sealed).digest()
    assert struct.unpack(">QQQ", header[88:112]) == (7, 1_767_225_600_000, len(sealed))
    info = field(b"ribcage/edge/key/v1") + field(header)
    key = xwing.open_(bytes.fromhex(VECTORS["private_seed"]), info, wrapped)
    envelope, salt, prefix = sealed[:60], sealed[61:93], sealed[93:100]
    assert (
        envelope
        == b"RBCG"
        + bytes([1, 1, 3, 20])
        + bytes(4)
        + bytes.fromhex(VECTORS["hospital"])
        + header[40:56]
        + header[56:72]
    )
    segment_key = HKDF(SHA256(), 32, salt, envelope).derive(key)
    plain = AESGCM(segment_key).decrypt(prefix + bytes(4) + b"\x01", sealed[100:], b"")
    size = struct.unpack(">I", plain[:4])[0]
    assert json.loads(plain[4 : 4 + size])["calling"] == "DX1"
    assert plain[4 + size :].hex() == VECTORS["data_set"]


@given(st.integers(0, FRONT_BYTES - 1), st.integers(1, 255))
def test_a_changed_front_is_refused(at: int, flip: int) -> None:
    data = bytearray(ENTRY[:FRONT_BYTES])
    data[at] ^= flip
    with pytest.raises(EdgeEntryRefused):
        EntryFront.parse(bytes(data)).verify(EDGE_KEY)


@given(st.binary(max_size=FRONT_BYTES + 8))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        assert EntryFront.parse(data).encode() == data
    except EdgeEntryRefused:
        return


@given(st.binary(max_size=300))
def test_any_context_is_read_or_refused(data: bytes) -> None:
    try:
        context, end = split_context(data)
    except EdgeEntryRefused:
        return
    assert context.encode() == data[:end]


def test_the_key_opens_with_its_own_header_alone() -> None:
    private = hybrid.HybridPrivate(bytes.fromhex(VECTORS["private_seed"]))
    assert private.open_key(FRONT.wrapped, key_info(FRONT.header)).hex() == VECTORS["object_key"]
    for name, value in (
        ("sequence", 8),
        ("edge", bytes(16)),
        ("device", bytes(16)),
        ("data_set_sha256", bytes(32)),
    ):
        with pytest.raises(SealBroken):
            private.open_key(FRONT.wrapped, key_info(replace(FRONT.header, **{name: value})))
    with pytest.raises(SealBroken):
        hybrid.HybridPrivate(bytes(96)).open_key(FRONT.wrapped, key_info(FRONT.header))
    with pytest.raises(SealBroken):
        hybrid.seal_key(bytes(10), bytes(32), b"")


def test_the_context_comes_back_and_must_be_whole() -> None:
    context = EntryContext("DX1", "EDGE1", "192.0.2.7", "1.2", "2.25.17", "1.2.840.10008.1.2.1")
    data = context.encode()
    assert split_context(data + b"film") == (context, len(data))
    with pytest.raises(EdgeEntryRefused):
        split_context(data[:-1])
    with pytest.raises(EdgeEntryRefused):
        replace(context, calling="\ud800").encode()
    assert {each.name for each in fields(EntryContext)} == {*json.loads(data[4:])} - {"version"}


def test_a_receipt_counts_for_its_own_entry_and_key_alone() -> None:
    note = VECTORS["receipt"].encode()
    assert check_receipt(note, LOG_KEY, FRONT).outcome == "taken"
    other = EntryFront.sign(replace(FRONT.header, sequence=8), FRONT.wrapped, Signer(bytes(32)))
    with pytest.raises(EdgeEntryRefused):
        check_receipt(note, LOG_KEY, other)
    stranger = CheckpointSigner("ribcage.local/vectors", bytes(32))
    with pytest.raises(EvidenceError):
        read_receipt(sign_receipt(EdgeReceipt.of(FRONT, bytes(16), 1, "taken"), stranger), LOG_KEY)
    with pytest.raises(EvidenceError):
        read_receipt(note.replace(b'"taken"', b'"refused"'), LOG_KEY)


def test_numbers_outside_their_range_are_refused() -> None:
    for name in ("sequence", "taken_ms", "sealed_bytes"):
        data = replace(FRONT.header, **{name: 1 << 63}).encode()
        with pytest.raises(EdgeEntryRefused):
            EntryHeader.parse(data)
    with pytest.raises(EdgeEntryRefused):
        EntryHeader.parse(replace(FRONT.header, sequence=0).encode())
