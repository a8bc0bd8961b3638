"""Signatures, nonces and chain ids are ours to check: the embedded machine checks none of them."""

from __future__ import annotations

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.harness import CHAIN, FOREIGN_SECRET, SECRET
from ribcage.ledger.abi import keccak256
from ribcage.ledger.errors import (
    BadSignature,
    InvalidCall,
    LedgerError,
    MalformedTransaction,
    TransactionError,
    WrongChain,
)
from ribcage.ledger.transactions import (
    GAS_LIMIT,
    MAX_RAW_BYTES,
    Signer,
    Transaction,
    contract_address,
    recover,
)

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TRANSACTION = Transaction(chain_id=CHAIN, nonce=3, to=b"\x11" * 20, data=b"payload")
RAW = Signer(SECRET).sign(TRANSACTION)


def with_fields(**changes: object) -> bytes:
    """RAW with some RLP fields replaced, the signature left as it was."""
    names = ["chain", "nonce", "tip", "fee", "gas", "to", "value", "data", "access", "parity", "r", "s"]
    fields = dict(zip(names, rlp.decode(RAW[1:]), strict=True)) | changes
    return b"\x02" + rlp.encode([fields[n] for n in names])


def test_known_addresses() -> None:
    # The address of secret 1, and the example of a first contract of a known creator.
    assert Signer(SECRET).address.hex() == "7e5f4552091a69125d5dfcb7b8c2659029395bdf"
    creator = bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0")
    assert contract_address(creator, 0).hex() == "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    assert contract_address(creator, 1).hex() == "343c43a37d37dff08ae8c4a11544c718abb4fcf8"
    empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"").hex() == empty


@settings(max_examples=60, deadline=None)
@given(nonce=st.integers(0, 2**64 - 1), data=st.binary(max_size=300), create=st.booleans())
def test_signed_transaction_recovers_its_content_and_sender(nonce: int, data: bytes, create: bool) -> None:
    transaction = Transaction(chain_id=CHAIN, nonce=nonce, to=b"" if create else b"\x22" * 20, data=data)
    signer = Signer(SECRET)
    assert recover(signer.sign(transaction), CHAIN) == (transaction, signer.address)


@settings(max_examples=300, deadline=None)
@given(bit=st.integers(0, 8 * len(RAW) - 1))
def test_a_flipped_bit_never_keeps_the_sender(bit: int) -> None:
    forged = bytearray(RAW)
    forged[bit // 8] ^= 1 << bit % 8
    try:
        _, sender = recover(bytes(forged), CHAIN)
    except TransactionError:
        return
    assert sender != Signer(SECRET).address


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"\x02" + tail))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(TransactionError):
        recover(raw, CHAIN)


def test_transaction_of_another_chain_is_refused() -> None:
    with pytest.raises(WrongChain):
        recover(RAW, CHAIN + 1)


def test_high_s_twin_of_a_signature_is_refused() -> None:
    fields = rlp.decode(RAW[1:])
    twin = ORDER - int.from_bytes(fields[11], "big")
    parity = 1 - int.from_bytes(fields[9], "big")
    with pytest.raises(BadSignature, match="EIP-2"):
        recover(with_fields(s=twin, parity=parity), CHAIN)


@pytest.mark.parametrize("changes", [{"r": 0}, {"s": 0}, {"r": ORDER}, {"parity": 2}])
def test_signature_out_of_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadSignature):
        recover(with_fields(**changes), CHAIN)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 1},
        {"fee": 1},
        {"tip": 1},
        {"access": [[b"\x11" * 20, []]]},
        {"to": b"\x11" * 19},
        {"to": [b"\x11" * 20]},
        {"data": []},
        {"nonce": b"\x00\x03"},
        {"gas": GAS_LIMIT + 1},
        {"r": b"\x01" * 33},
    ],
)
def test_transaction_outside_the_profile_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedTransaction):
        recover(with_fields(**changes), CHAIN)


@pytest.mark.parametrize(
    "raw", [b"", b"\x02", b"\x01" + RAW[1:], RAW + b"\x00", RAW[:-1], b"\x02" + b"\xc1" * 60_000]
)
def test_broken_encoding_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedTransaction):
        recover(raw, CHAIN)


def test_length_is_bounded_both_ways() -> None:
    with pytest.raises(MalformedTransaction, match="at most"):
        recover(b"\x02" + bytes(MAX_RAW_BYTES), CHAIN)
    with pytest.raises(MalformedTransaction, match="at most"):
        Signer(SECRET).sign(Transaction(CHAIN, 0, b"\x11" * 20, bytes(MAX_RAW_BYTES)))


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, bytes(33)])
def test_secret_out_of_range_is_refused(secret: bytes) -> None:
    with pytest.raises(InvalidCall) as caught:
        Signer(secret)
    assert isinstance(caught.value, LedgerError)


def test_secret_shows_in_no_repr() -> None:
    signer = Signer(FOREIGN_SECRET)
    assert FOREIGN_SECRET.hex() not in repr(signer) + repr(vars(signer))
