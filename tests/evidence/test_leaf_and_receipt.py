"""Openings of leaves, and receipts: forged, moved, expired."""

import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.evidence.errors import EntryInvalid, OpeningBroken, ReceiptExpired, ReceiptForged
from ribcage.evidence.leaf import MAX_BODY_BYTES, make_leaf, open_leaf
from ribcage.evidence.receipt import (
    CLOCK_STEP_MS,
    DOMAIN,
    KIND_CODES,
    MAX_LIFE_MS,
    PURPOSE_CODES,
    RECEIPT_BYTES,
    VIEW_CODES,
    Receipt,
    check,
    issue,
)

KEY = bytes(range(32))
SALT = bytes(range(32, 64))
NOW = 1_750_000_000_000
RECEIPT = Receipt(
    kind="disclose",
    disclosure=b"d" * 16,
    principal=b"p" * 32,
    resource=b"r" * 16,
    view="full",
    purpose="TREAT",
    issued_at_ms=NOW,
    expires_at_ms=NOW + 60_000,
    log_index=77,
    leaf=b"l" * 32,
)


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_leaf_is_the_frozen_construction():
    data, found = make_leaf(b'{"a":1}', SALT)
    assert data == hashlib.sha256(b"\x01" + SALT + b'{"a":1}').digest()
    assert found == hashlib.sha256(b"\x00" + data).digest()


def test_same_entry_under_two_salts_looks_unrelated():
    one, other = make_leaf(b"body", SALT), make_leaf(b"body", KEY)
    assert one[0] != other[0]
    assert one[1] != other[1]


@settings(deadline=None, max_examples=100)
@given(st.binary(min_size=1, max_size=200), st.binary(min_size=32, max_size=32), st.data())
def test_flipped_body_or_salt_does_not_open_the_leaf(body, salt, data):
    _, found = make_leaf(body, salt)
    open_leaf(body, salt, found)
    with pytest.raises(OpeningBroken):
        open_leaf(flipped(body, data.draw(st.integers(0, len(body) * 8 - 1))), salt, found)
    with pytest.raises(OpeningBroken):
        open_leaf(body, flipped(salt, data.draw(st.integers(0, 255))), found)


def test_bytes_cannot_move_between_salt_and_body():
    _, found = make_leaf(b"Xbody", SALT)
    with pytest.raises(OpeningBroken):
        open_leaf(b"body", SALT + b"X", found)
    with pytest.raises(OpeningBroken):
        open_leaf(SALT[-1:] + b"Xbody", SALT[:-1], found)


@pytest.mark.parametrize(
    ("body", "salt"), [(b"", SALT), (b"x" * (MAX_BODY_BYTES + 1), SALT), (b"x", SALT[:31])]
)
def test_leaf_outside_the_limits_is_not_made(body, salt):
    with pytest.raises(EntryInvalid):
        make_leaf(body, salt)


@settings(deadline=None, max_examples=100)
@given(
    kind=st.sampled_from(sorted(KIND_CODES)),
    view=st.sampled_from(sorted(VIEW_CODES)),
    purpose=st.sampled_from(sorted(PURPOSE_CODES)),
    life=st.integers(1, MAX_LIFE_MS),
    index=st.integers(0, 2**64 - 1),
    ids=st.binary(min_size=96, max_size=96),
)
def test_receipt_comes_back_as_issued(kind, view, purpose, life, index, ids):
    receipt = Receipt(kind, ids[:16], ids[16:48], ids[48:64], view, purpose, NOW, NOW + life, index, ids[64:])
    data = issue(KEY, receipt)
    assert len(data) == RECEIPT_BYTES == 156
    assert check(KEY, data, NOW + life - 1) == receipt


def test_any_flipped_bit_forges_a_receipt():
    data = issue(KEY, RECEIPT)
    for bit in range(RECEIPT_BYTES * 8):
        with pytest.raises(ReceiptForged):
            check(KEY, flipped(data, bit), NOW)


def test_cut_extended_or_empty_receipt_is_forged():
    data = issue(KEY, RECEIPT)
    for forged in (b"", data[:-1], data + b"\x00", data[1:]):
        with pytest.raises(ReceiptForged):
            check(KEY, forged, NOW)


def test_receipt_of_another_guard_is_forged():
    with pytest.raises(ReceiptForged, match="not issued by this guard"):
        check(SALT, issue(KEY, RECEIPT), NOW)


def test_mac_of_another_protocol_under_the_same_key_is_forged():
    layout = issue(KEY, RECEIPT)[:-32]
    for domain in (b"", b"ribcage session v1\x00"):
        with pytest.raises(ReceiptForged):
            check(KEY, layout + hmac.new(KEY, domain + layout, "sha256").digest(), NOW)


@pytest.mark.parametrize(("offset", "value"), [(0, 2), (0, 0), (1, 0), (1, 6), (66, 4), (67, 6)])
def test_rightly_signed_receipt_with_an_unknown_code_is_refused(offset, value):
    layout = bytearray(issue(KEY, RECEIPT)[:-32])
    layout[offset] = value
    with pytest.raises(ReceiptForged):
        check(KEY, bytes(layout) + hmac.new(KEY, DOMAIN + layout, "sha256").digest(), NOW)


def test_receipt_is_refused_from_the_moment_it_expires():
    data = issue(KEY, RECEIPT)
    check(KEY, data, RECEIPT.expires_at_ms - 1)
    with pytest.raises(ReceiptExpired):
        check(KEY, data, RECEIPT.expires_at_ms)


def test_clock_set_back_does_not_prolong_a_receipt():
    data = issue(KEY, RECEIPT)
    check(KEY, data, NOW - CLOCK_STEP_MS)
    with pytest.raises(ReceiptExpired):
        check(KEY, data, NOW - CLOCK_STEP_MS - 1)


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at_ms": NOW},
        {"expires_at_ms": NOW + MAX_LIFE_MS + 1},
        {"log_index": -1},
        {"log_index": 1 << 64},
        {"principal": b"p" * 31},
        {"kind": "steal"},
        {"view": "everything"},
    ],
)
def test_receipt_outside_the_format_is_not_issued(change):
    with pytest.raises(EntryInvalid):
        issue(KEY, replace(RECEIPT, **change))


def test_short_key_is_refused():
    with pytest.raises(EntryInvalid):
        issue(b"short", RECEIPT)
