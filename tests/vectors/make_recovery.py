"""Vectors of `docs/formats.md` section 2: the file provider without and with a recovery record, and its shares."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from shamir_mnemonic.shamir import EncryptedMasterSecret, RawShare, _create_digest, _interpolate
from shamir_mnemonic.share import Share

from helpers import rfc9180
from ribcage.crypto import wraps
from ribcage.crypto._encode import field
from ribcage.crypto.provider import Argon2Parameters
from ribcage.crypto.recovery import RecoveryKey, record_mac

PASSPHRASE = "correct horse battery staple"
COST = Argon2Parameters(memory_kib=64, iterations=1, lanes=1)  # far too cheap for a home, right for a vector
SALT, NONCE = bytes(range(16)), bytes(range(103, 115))
KEK, KEY = bytes(range(32, 64)), bytes(range(64, 96))
PRIVATE, EPHEMERAL = bytes(range(96, 128)), bytes(range(128, 160))
SLOT, MADE_MS = "kek-0001020304050607", 1_767_225_600_000
NEED, IDENTIFIER = 2, 4711


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _file(root: bytes, more: tuple[str, ...]) -> dict[str, Any]:
    cost = (COST.memory_kib, COST.iterations, COST.lanes)
    check = wraps.wrap(root, b"check", wraps.context("provider-check", *cost, SALT, *more), _nonce=NONCE)
    slot = wraps.wrap(root, KEK, wraps.context("provider-slot", SLOT), _nonce=NONCE)
    return {
        "format": 2 if more else 1,
        "argon2id": {"memory_kib": COST.memory_kib, "iterations": COST.iterations, "lanes": COST.lanes},
        "salt": _text(SALT),
        "check": _text(check),
        "slots": {SLOT: _text(slot)},
    }


def _shares() -> list[str]:
    """2 of 3 with fixed random parts: the line through the secret at 255 and its digest at 254 (SLIP-0039)."""
    secret = EncryptedMasterSecret.from_master_secret(PRIVATE, b"", IDENTIFIER, True, 0).ciphertext
    part = bytes(range(160, 188))
    line = [RawShare(254, _create_digest(part, secret) + part), RawShare(255, secret)]
    return [
        Share(IDENTIFIER, True, 0, 0, 1, 1, at, NEED, _interpolate(line, at)).mnemonic() for at in range(3)
    ]


def make() -> dict[str, Any]:
    """Both formats under the same passphrase and salt."""
    root = COST.stretch(PASSPHRASE.encode(), SALT)
    public = X25519PrivateKey.from_private_bytes(PRIVATE).public_key().public_bytes_raw()
    key = RecoveryKey(public, NEED, 3, MADE_MS)
    circumstances = wraps.context(COST.memory_kib, COST.iterations, COST.lanes, SALT)
    info = field(b"ribcage/recovery/v1") + field(key.bound(circumstances))
    sealed = rfc9180.seal(public, info, root, EPHEMERAL)
    record = {
        "public_key": _text(public),
        "need": NEED,
        "of": 3,
        "made_ms": MADE_MS,
        "sealed": _text(sealed),
        "mac": _text(record_mac(root, key, sealed, circumstances)),
    }
    common = {
        "passphrase": PASSPHRASE,
        "slot": SLOT,
        "key": KEY.hex(),
        "context": b"here".hex(),
        "wrapped": wraps.wrap(KEK, KEY, b"here", _nonce=NONCE).hex(),
    }
    shares = _shares()
    with_shares = {"shares": shares[1:], "info": info.hex(), "fingerprint": key.fingerprint.hex()}
    return {
        "2_provider": {
            "1": common | {"file": _file(root, ())},
            "2": common | with_shares | {"file": _file(root, ("recovery",)) | {"recovery": record}},
        },
        "2_shares": {"private_key": PRIVATE.hex(), "shares": shares},
    }
