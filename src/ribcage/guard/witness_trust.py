"""Which witness this archive trusts: one sealed value of the key store, and what the log says of it.

Rules, in order:
1. Address, verifier key and certificate fingerprint are sealed together; only an operator's call changes them, and
   its entry is durable first.
2. Removing the value from the key store hides nothing: the entry of each start names the configuration, so a log
   that knows a witness which the key store lacks keeps the archive closed.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from ribcage.crypto.errors import CryptoError, KeyUnknown
from ribcage.database.schema import log_leaf
from ribcage.evidence.errors import NoteMalformed
from ribcage.evidence.note import COSIGNATURE_V1, VerifierKey
from ribcage.guard.errors import GuardRefused
from ribcage.guard.keyring import Keyring
from ribcage.guard.log import AuditLog

BLOB = "witness"
TRUSTED, FORGOTTEN = "witness-trusted", "witness-forgotten"
_DIGEST_BYTES = 32
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){0,4}/?")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_STARTED = b'"code":"application-started"'
_WITH_WITNESS = b'"type":"configuration","valueString":"witness"'
_CHANGED = b'"code":"configuration-changed"'
_SETTINGS = ((TRUSTED.encode(), True), (FORGOTTEN.encode(), False))


class WitnessTrust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A witness as the operator named it. `certificate` is the SHA-256 of its TLS certificate."""

    url: str
    witness: str
    certificate: bytes
    version: int = 1

    @property
    def key(self) -> VerifierKey:
        """Its verifier key."""
        return VerifierKey.parse(self.witness)

    @property
    def place(self) -> tuple[str, int, str]:
        """`(host, port, path prefix without a slash at its end)`."""
        parts = urlsplit(self.url)
        return str(parts.hostname), parts.port or 443, parts.path.rstrip("/")

    def check(self) -> None:
        """Raises GuardRefused('invalid') for values that cannot be."""
        try:
            parts = urlsplit(self.url)
            fits = (
                parts.scheme == "https"
                and _HOST.fullmatch(parts.hostname or "") is not None
                and 0 <= (parts.port or 443) <= 65535
                and _PREFIX.fullmatch(parts.path) is not None
                and not (parts.query or parts.fragment or parts.username or parts.password)
                and self.key.kind == COSIGNATURE_V1
                and len(self.certificate) == _DIGEST_BYTES
            )
        except (ValueError, NoteMalformed) as failure:
            raise GuardRefused("invalid") from failure
        if not fits:
            raise GuardRefused("invalid")


def load_trust(keyring: Keyring) -> WitnessTrust | None:
    """The trusted witness, None without one. Raises KeyStoreFailure, WrapBroken."""
    try:
        stored = keyring.load_blob(BLOB)
    except KeyUnknown:
        return None
    return msgspec.json.decode(stored, type=WitnessTrust) if stored else None


def store_trust(keyring: Keyring, trust: WitnessTrust | None) -> None:
    """Durable when this returns. Raises KeyStoreFailure."""
    keyring.store_blob(BLOB, msgspec.json.encode(trust) if trust is not None else b"")


def log_knows_a_witness(engine: sa.Engine, log: AuditLog) -> bool:
    """Whether the newest entry that tells it names a witness (rule 2). Reads back to the last start."""
    entries = sa.select(log_leaf.c.number, log_leaf.c.sealed).order_by(log_leaf.c.number.desc())
    with engine.connect() as connection:
        for row in connection.execute(entries):
            try:
                body = log.open(int(row.number), bytes(row.sealed))[1]
            except CryptoError:
                continue  # `ledger_behind_log` and `verify` name it
            if _STARTED in body:
                return _WITH_WITNESS in body
            if _CHANGED in body:
                for word, trusted in _SETTINGS:
                    if word in body:
                        return trusted
    return False
