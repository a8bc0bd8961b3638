"""The small part of the Ethereum contract ABI that AccessLedger needs.

Static words (uint8…uint256, bool, bytes32, address) and one dynamic type, bytes32[]. Everything is checked
before it is encoded: a value that does not fit its type is `InvalidCall`, never silently cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from eth_hash.auto import keccak

from ribcage.ledger.errors import InvalidCall, LedgerUnavailable

WORD = 32
Value = int | bool | bytes | Sequence[bytes]

_UINT = re.compile(r"uint(8|16|32|64|128|256)\Z")
_ERROR_STRING = bytes.fromhex("08c379a0")  # Error(string)


def keccak256(data: bytes) -> bytes:
    """Keccak-256 of `data`, 32 bytes."""
    digest: bytes = keccak(data)
    return digest


def selector(signature: str) -> bytes:
    """First four bytes of the hash of a canonical signature such as `check(bytes32,bytes32[],uint8)`."""
    return keccak256(signature.encode("ascii"))[:4]


def _fixed_bytes(value: Value, length: int, kind: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != length:
        got = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise InvalidCall(f"expected {length} bytes for {kind}, got {got}")
    return value


def _word(kind: str, value: Value) -> bytes:
    if kind == "bytes32":
        return _fixed_bytes(value, WORD, kind)
    if kind == "address":
        return bytes(12) + _fixed_bytes(value, 20, kind)
    if kind == "bool":
        if not isinstance(value, bool):
            raise InvalidCall(f"expected a bool, got {type(value).__name__}")
        return int(value).to_bytes(WORD, "big")
    match = _UINT.match(kind)
    if match is None:
        raise InvalidCall(f"type {kind} is not supported")
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidCall(f"expected an integer for {kind}, got {type(value).__name__}")
    if not 0 <= value < 1 << int(match[1]):
        raise InvalidCall(f"integer does not fit {kind}")
    return int(value).to_bytes(WORD, "big")


def encode(kinds: Sequence[str], values: Sequence[Value]) -> bytes:
    """Arguments as calldata after the selector. Raises InvalidCall."""
    if len(kinds) != len(values):
        raise InvalidCall(f"expected {len(kinds)} arguments, got {len(values)}")
    head: list[bytes] = []
    tail = b""
    for kind, value in zip(kinds, values, strict=True):
        if kind != "bytes32[]":
            head.append(_word(kind, value))
            continue
        if isinstance(value, (int, bytes)):
            raise InvalidCall("expected a sequence of 32-byte values for bytes32[]")
        head.append((WORD * len(kinds) + len(tail)).to_bytes(WORD, "big"))
        tail += len(value).to_bytes(WORD, "big") + b"".join(_fixed_bytes(v, WORD, "bytes32") for v in value)
    return b"".join(head) + tail


def decode_words(data: bytes, count: int) -> list[int]:
    """A return value of `count` static words as integers. Raises LedgerUnavailable when the length differs."""
    if len(data) != WORD * count:
        raise LedgerUnavailable(f"expected {WORD * count} bytes from the contract, got {len(data)}")
    return [int.from_bytes(data[i : i + WORD], "big") for i in range(0, len(data), WORD)]


def revert_reason(output: bytes) -> str:
    """The text of `Error(string)`, or '' where the contract gave none."""
    if not output.startswith(_ERROR_STRING) or len(output) < 4 + 2 * WORD:
        return ""
    length = int.from_bytes(output[4 + WORD : 4 + 2 * WORD], "big")
    return output[4 + 2 * WORD :][:length].decode("ascii", "replace")
