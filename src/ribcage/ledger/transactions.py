"""Signed transactions: EIP-1559 (type 2), one strict profile.

The embedded EVM checks no signature, nonce or chain id, so all of it is checked here and in `embedded`.
Rules, in order, for `recover`:
1. At most MAX_RAW_BYTES; type byte 2; canonical RLP (decoding and encoding again gives the same bytes).
2. Exactly our profile: fees, tip and value zero, access list empty, `to` empty (creation) or 20 bytes.
3. The chain id is ours (EIP-155's purpose, in the signed payload of EIP-1559).
4. r and s in range, s in the lower half (EIP-2), parity 0 or 1; the sender is recovered, never stated.
"""

from __future__ import annotations

from dataclasses import dataclass

import rlp
from coincurve import PrivateKey, PublicKey
from rlp.exceptions import RLPException

from ribcage.ledger.abi import keccak256
from ribcage.ledger.errors import BadSignature, InvalidCall, MalformedTransaction, WrongChain

MAX_RAW_BYTES = 65_536
GAS_LIMIT = 16_000_000  # under the cap of EIP-7825, above what any of our calls needs

_TYPE = b"\x02"
_FIELDS = 12
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is signed. `to` is the contract's address, or b'' to create it; value and fees are always zero."""

    chain_id: int
    nonce: int
    to: bytes
    data: bytes
    gas_limit: int = GAS_LIMIT

    def _payload(self) -> list[object]:
        return [self.chain_id, self.nonce, 0, 0, self.gas_limit, self.to, 0, self.data, []]

    def digest(self) -> bytes:
        """The 32 bytes that are signed (EIP-1559)."""
        return keccak256(_TYPE + rlp.encode(self._payload()))

    def assemble(self, parity: int, r: int, s: int) -> bytes:
        """Raw bytes with a signature."""
        raw: bytes = _TYPE + rlp.encode([*self._payload(), parity, r, s])
        return raw


def address_of(public_key: bytes) -> bytes:
    """20-byte address of an uncompressed secp256k1 public key (65 bytes)."""
    return keccak256(public_key[1:])[12:]


def contract_address(creator: bytes, nonce: int) -> bytes:
    """20-byte address of the contract that `creator` makes with transaction `nonce`."""
    return keccak256(rlp.encode([creator, nonce]))[12:]


class Signer:
    """An institution's signing key. The secret is 32 bytes; it shows in no repr."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise InvalidCall("expected a 32-byte secp256k1 secret in range")
        self._key = PrivateKey(secret)
        self.address: bytes = address_of(self._key.public_key.format(compressed=False))

    def sign(self, transaction: Transaction) -> bytes:
        """Raw signed bytes; deterministic (RFC 6979), lower-half s. Raises MalformedTransaction when too long."""
        signature: bytes = self._key.sign_recoverable(transaction.digest(), hasher=None)
        r, s, parity = (
            int.from_bytes(signature[:32], "big"),
            int.from_bytes(signature[32:64], "big"),
            signature[64],
        )
        if parity > 1:  # r above the order: once in 2^127 signatures
            raise BadSignature("the signature has no EIP-1559 form: change the transaction")
        raw = transaction.assemble(parity, r, s)
        if len(raw) > MAX_RAW_BYTES:
            raise MalformedTransaction(f"expected at most {MAX_RAW_BYTES} bytes, got {len(raw)}")
        return raw


def _integer(field: object, name: str) -> int:
    if not isinstance(field, bytes) or len(field) > 32 or field[:1] == b"\x00":
        raise MalformedTransaction(f"{name} is not a canonical integer")
    return int.from_bytes(field, "big")


def _parse(raw: bytes) -> tuple[Transaction, int, int, int]:
    if len(raw) > MAX_RAW_BYTES:
        raise MalformedTransaction(f"expected at most {MAX_RAW_BYTES} bytes, got {len(raw)}")
    if raw[:1] != _TYPE:
        raise MalformedTransaction("expected transaction type 2 (EIP-1559)")
    try:
        fields = rlp.decode(raw[1:], strict=True)
    except (RLPException, RecursionError) as error:
        raise MalformedTransaction("not RLP") from error
    if not isinstance(fields, list) or len(fields) != _FIELDS:
        raise MalformedTransaction(f"expected a list of {_FIELDS} fields")
    to, data = fields[5], fields[7]
    if not isinstance(to, bytes) or len(to) not in (0, 20) or not isinstance(data, bytes):
        raise MalformedTransaction("expected an address or nothing in 'to' and bytes in 'data'")
    transaction = Transaction(
        chain_id=_integer(fields[0], "chain id"),
        nonce=_integer(fields[1], "nonce"),
        to=to,
        data=data,
        gas_limit=_integer(fields[4], "gas limit"),
    )
    parity, r, s = _integer(fields[9], "parity"), _integer(fields[10], "r"), _integer(fields[11], "s")
    if transaction.assemble(parity, r, s) != raw:
        raise MalformedTransaction(
            "fees, value or access list are not empty, or the encoding is not canonical"
        )
    return transaction, parity, r, s


def recover(raw: bytes, chain_id: int) -> tuple[Transaction, bytes]:
    """The transaction and its sender's 20-byte address.

    Raises MalformedTransaction, WrongChain or BadSignature. Whether the sender may write is the contract's word;
    whether the nonce is next is the ledger's.
    """
    transaction, parity, r, s = _parse(raw)
    if transaction.chain_id != chain_id:
        raise WrongChain(f"expected chain id {chain_id}, got {transaction.chain_id}")
    if transaction.gas_limit > GAS_LIMIT:
        raise MalformedTransaction(
            f"expected a gas limit of at most {GAS_LIMIT}, got {transaction.gas_limit}"
        )
    if parity > 1 or not 0 < r < _ORDER or not 0 < s <= _ORDER // 2:
        raise BadSignature("r, s or parity out of range (EIP-2)")
    compact = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    try:
        key = PublicKey.from_signature_and_message(compact, transaction.digest(), hasher=None)
    except ValueError as error:
        raise BadSignature("the signature recovers to no key") from error
    return transaction, address_of(key.format(compressed=False))


def transaction_hash(raw: bytes) -> bytes:
    """The 32-byte hash by which a network names the transaction."""
    return keccak256(raw)
