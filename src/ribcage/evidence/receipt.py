"""Receipts: what the guard decided, for whom, until when, and where the log says so (docs/formats.md 5.4).

Rules, in order:
1. A receipt is 156 bytes, laid out as `_LAYOUT` followed by HMAC-SHA256 under the guard's receipt key over
   `DOMAIN ‖ layout`. Only the guard issues and checks it; for everybody else it is opaque.
2. The kinds are a closed list. Every receipt names the log index and leaf hash of its durable entry.
3. A receipt lives from `issued_at_ms` to `expires_at_ms`, at most `MAX_LIFE_MS`; a clock that stepped back by
   more than `CLOCK_STEP_MS` makes it invalid.
4. The MAC is checked before any field is read.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from ribcage.evidence.errors import EntryInvalid, ReceiptExpired, ReceiptForged

RECEIPT_VERSION = 1
DOMAIN = b"ribcage receipt v1\x00"
MAX_LIFE_MS = 15 * 60 * 1000
CLOCK_STEP_MS = 5_000
MIN_KEY_BYTES = 32

Kind = Literal["admit", "disclose", "query", "maintain", "derive"]
View = Literal["none", "masked", "full", "original"]
Purpose = Literal["", "TREAT", "ETREAT", "HRESCH", "HOPERAT", "PATRQT"]

_KINDS: tuple[Kind, ...] = get_args(Kind)  # on the wire: position + 1
_VIEWS: tuple[View, ...] = get_args(View)
_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

KIND_CODES = MappingProxyType({kind: code for code, kind in enumerate(_KINDS, 1)})
VIEW_CODES = MappingProxyType({view: code for code, view in enumerate(_VIEWS)})
PURPOSE_CODES = MappingProxyType({purpose: code for code, purpose in enumerate(_PURPOSES)})

_LAYOUT = struct.Struct(">BB16s32s16sBBQQQ32s")
_MAC_BYTES = 32
RECEIPT_BYTES = _LAYOUT.size + _MAC_BYTES


@dataclass(frozen=True)
class Receipt:
    """One decision. Times are Unix milliseconds; `resource` is a study key id or an object id (16 bytes).

    `principal` is 32 bytes: a certificate fingerprint, or the hash of a session or an operator. `purpose` is
    '' where none applies (`admit`, `maintain`). `leaf` is the leaf hash of the entry at `log_index`.
    """

    kind: Kind
    disclosure: bytes
    principal: bytes
    resource: bytes
    view: View
    purpose: Purpose
    issued_at_ms: int
    expires_at_ms: int
    log_index: int
    leaf: bytes


def issue(key: bytes, receipt: Receipt) -> bytes:
    """Encode and authenticate a receipt (156 bytes) under the guard's receipt key (at least 32 bytes).

    Raises `EntryInvalid` on lengths, codes or a life that the format does not allow.
    """
    _check_key(key)
    lengths = (len(receipt.disclosure), len(receipt.principal), len(receipt.resource), len(receipt.leaf))
    if lengths != (16, 32, 16, 32):
        raise EntryInvalid(f"expected fields of 16, 32, 16 and 32 bytes, got {lengths}")
    if not 0 < receipt.expires_at_ms - receipt.issued_at_ms <= MAX_LIFE_MS:
        raise EntryInvalid(f"a receipt lives 1 to {MAX_LIFE_MS} ms")
    try:
        layout = _LAYOUT.pack(
            RECEIPT_VERSION,
            KIND_CODES[receipt.kind],
            receipt.disclosure,
            receipt.principal,
            receipt.resource,
            VIEW_CODES[receipt.view],
            PURPOSE_CODES[receipt.purpose],
            receipt.issued_at_ms,
            receipt.expires_at_ms,
            receipt.log_index,
            receipt.leaf,
        )
    except (KeyError, struct.error) as error:
        raise EntryInvalid(f"a receipt field is outside its range: {error}") from error
    return layout + _mac(key, layout)


def check(key: bytes, data: bytes, now_ms: int) -> Receipt:
    """Return the receipt if this guard issued it and it is alive at `now_ms` (Unix milliseconds).

    Raises `ReceiptForged` for anything the guard did not write and `ReceiptExpired` outside its life.
    """
    _check_key(key)
    if len(data) != RECEIPT_BYTES:
        raise ReceiptForged(f"expected a receipt of {RECEIPT_BYTES} bytes, got {len(data)}")
    layout = bytes(data[: _LAYOUT.size])
    if not hmac.compare_digest(_mac(key, layout), data[_LAYOUT.size :]):
        raise ReceiptForged("the receipt was not issued by this guard; ask for a new disclosure")
    version, kind, disclosure, principal, resource, view, purpose, issued, expires, index, leaf = (
        _LAYOUT.unpack(layout)
    )
    if version != RECEIPT_VERSION:
        raise ReceiptForged(f"expected receipt version {RECEIPT_VERSION}, got {version}")
    if not 1 <= kind <= len(_KINDS) or view >= len(_VIEWS) or purpose >= len(_PURPOSES):
        raise ReceiptForged("the receipt has a code outside the closed lists")
    if not issued - CLOCK_STEP_MS <= now_ms < expires:
        raise ReceiptExpired("the receipt is outside its life; ask for a new disclosure")
    return Receipt(
        kind=_KINDS[kind - 1],
        disclosure=disclosure,
        principal=principal,
        resource=resource,
        view=_VIEWS[view],
        purpose=_PURPOSES[purpose],
        issued_at_ms=issued,
        expires_at_ms=expires,
        log_index=index,
        leaf=leaf,
    )


def _mac(key: bytes, layout: bytes) -> bytes:
    return hmac.new(key, DOMAIN + layout, hashlib.sha256).digest()


def _check_key(key: bytes) -> None:
    if len(key) < MIN_KEY_BYTES:
        raise EntryInvalid(f"expected a receipt key of at least {MIN_KEY_BYTES} bytes, got {len(key)}")
