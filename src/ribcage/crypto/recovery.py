"""Recovery record: the provider's root key, sealed to a key pair whose private half lies in shares (`shares`).

Rules, in order:
1. The root is sealed by HPKE (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). `info`
   names the public key, k, n, when it was made, and salt and cost of the passphrase that gives this root.
2. A MAC under the root covers all of it. Whoever can write the file but does not know the passphrase cannot put in
   a public key of their own: the MAC is verified before a new root is sealed to the key that the record names.
3. Each record has a root of its own: one of earlier, taken from an old copy, does not verify in today's file.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ribcage.crypto import wraps
from ribcage.crypto._encode import KEY_BYTES, check_key, field
from ribcage.crypto.derive import derive
from ribcage.crypto.errors import RecoveryTampered, SharesRefused
from ribcage.crypto.shares import check_numbers

SEALED_BYTES = 32 + KEY_BYTES + 16  # encapsulated key, root, tag
TAMPERED = (
    "the recovery record was changed by somebody without the passphrase: nothing is sealed to it; "
    "find out who, then `ribcage recovery make` or `forget`"
)
_LABEL = b"ribcage/recovery/v1"
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True)
class RecoveryKey:
    """Whose shares open the root: the public key, how many are needed of how many, Unix milliseconds."""

    public_key: bytes
    need: int
    of: int
    made_ms: int

    def check(self) -> None:
        """Raises SharesRefused for values that cannot be."""
        check_numbers(self.need, self.of)
        if len(self.public_key) != KEY_BYTES or self.made_ms < 0:
            raise SharesRefused(f"expected a public key of {KEY_BYTES} bytes and a time")

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the public key: names this set of shares in the log and to people."""
        return hashlib.sha256(self.public_key).digest()

    def bound(self, circumstances: bytes) -> bytes:
        """The context of seal and MAC; `circumstances` is the provider's: salt and cost."""
        return wraps.context(
            "provider-recovery", self.public_key, self.need, self.of, self.made_ms, circumstances
        )


@dataclass(frozen=True)
class RecoveryRecord:
    """What stands in the provider's file."""

    key: RecoveryKey
    sealed: bytes
    mac: bytes


def new_pair() -> tuple[bytes, bytes]:
    """A fresh `(private key, public key)`, 32 bytes each."""
    pair = X25519PrivateKey.generate()
    return pair.private_bytes_raw(), pair.public_key().public_bytes_raw()


def seal_root(root: bytes, key: RecoveryKey, circumstances: bytes) -> RecoveryRecord:
    """Seal the root to the key, and authenticate the record under the root. Raises SharesRefused."""
    key.check()
    info = field(_LABEL) + field(key.bound(circumstances))
    try:
        sealed = _SUITE.encrypt(check_key(root), X25519PublicKey.from_public_bytes(key.public_key), info)
    except ValueError:
        raise SharesRefused("the public key of the shares is no point to seal to") from None
    return RecoveryRecord(key, sealed, record_mac(root, key, sealed, circumstances))


def record_mac(root: bytes, key: RecoveryKey, sealed: bytes, circumstances: bytes) -> bytes:
    """HMAC-SHA256 under a key of the root (docs/formats.md 2)."""
    covered = field(key.bound(circumstances)) + field(sealed)
    return hmac.digest(derive(root, "recovery-record"), covered, "sha256")


def verify_record(root: bytes, record: RecoveryRecord, circumstances: bytes) -> None:
    """Raises RecoveryTampered unless this record was made under this root."""
    due = record_mac(root, record.key, record.sealed, circumstances)
    if not hmac.compare_digest(due, record.mac):
        raise RecoveryTampered(TAMPERED)


def open_root(private_key: bytes, record: RecoveryRecord, circumstances: bytes) -> bytes:
    """The root, for the private key that the shares give. Raises SharesRefused."""
    pair = X25519PrivateKey.from_private_bytes(check_key(private_key))
    if pair.public_key().public_bytes_raw() != record.key.public_key:
        raise SharesRefused("these shares are of another home, or were replaced by newer ones")
    info = field(_LABEL) + field(record.key.bound(circumstances))
    try:
        root = _SUITE.decrypt(record.sealed, pair, info)
    except (InvalidTag, ValueError):
        raise SharesRefused("the shares fit, but the recovery record is damaged") from None
    verify_record(check_key(root), record, circumstances)
    return root
