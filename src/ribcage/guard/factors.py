"""Second factors: one-time passwords, passkeys and recovery codes, each a row under the guard's MAC.

Rules, in order:
1. A one-time password (RFC 6238, 30 s, SHA-1, 6 digits) is accepted once, within one step of the clock.
2. A passkey's sign count only grows, unless the authenticator does not count (WebAuthn 7.2, step 22). One that went
   back is refused: the passkey may have been copied.
3. Of ten recovery codes of 80 bits the hashes are kept, sealed; the bits of `last_counter` tell which are used.
4. What is secret or names a device is sealed to its row; the row is written again, never deleted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pyotp
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import factor
from ribcage.guard.committer import Transaction
from ribcage.guard.errors import GuardRefused
from ribcage.guard.rows import MacRows
from ribcage.guard.webauthn_wire import NewPasskey

RECOVERY_CODES = 10
ResetKind = Literal["reset-asked", "reset"]
_ID_BYTES = 16
_STEP_SECONDS = 30
_CODE_BYTES = 10
_HASH_BYTES = 32
_GROUP = 4  # characters between two hyphens


class PasskeyCopied(GuardRefused):
    """The sign count went back (rule 2)."""

    def __init__(self) -> None:
        super().__init__("not_authenticated")


class Passkey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed of a passkey (`docs/formats.md`, second factors). Times in Unix seconds."""

    credential: bytes
    key: bytes
    label: str
    created_at: float
    used_at: float
    user_verified: bool


@dataclass(frozen=True)
class HeldPasskey:
    """A passkey with its row."""

    id: bytes
    person_id: bytes
    sign_count: int
    passkey: Passkey


class Factors:
    """The guard's memory of second factors; `rows` are those whose MAC holds, shared with `people`."""

    def __init__(self, rows: MacRows, memory: dict[bytes, dict[str, Any]], key: bytes) -> None:
        self._rows = rows
        self._memory = memory
        self._key = key
        self._spent: dict[bytes, int] = {}  # person -> code used while the database could not take it

    def _of(self, person_id: bytes, kind: str) -> Iterator[dict[str, Any]]:
        for row in list(self._memory.values()):
            if bytes(row["person_id"]) == person_id and row["kind"] == kind:
                yield row

    def _insert(self, tx: Transaction, person_id: bytes, kind: str, secret: bytes, counter: int) -> bytes:
        identifier = os.urandom(_ID_BYTES)
        row = {"id": identifier, "person_id": person_id, "kind": kind, "last_counter": counter}
        row["secret"] = self._seal(identifier, secret)
        self._rows.insert(tx.connection, factor, row)
        return identifier

    def _seal(self, identifier: bytes, secret: bytes) -> bytes:
        return seal_column(self._key, column_context("factor", "secret", identifier), secret)

    def _open(self, row: dict[str, Any]) -> bytes:
        """Raises CryptoError when it was moved or changed."""
        context = column_context("factor", "secret", bytes(row["id"]))
        return open_column(self._key, context, bytes(row["secret"]))

    def _current(self, tx: Transaction, identifier: bytes) -> dict[str, Any]:
        """The row as it stands in this transaction: two uses in one batch see each other."""
        query = sa.select(factor).where(factor.c.id == identifier)
        row = tx.connection.execute(query).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_authenticated")
        return self._rows.check(factor, row)

    # --- one-time passwords -----------------------------------------------------------------------------

    def add_totp(self, tx: Transaction, person_id: bytes, username: str) -> str:
        """A new TOTP factor; returns its otpauth URI, which is shown once."""
        secret = pyotp.random_base32()
        self._insert(tx, person_id, "totp", secret.encode(), 0)
        return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name="Ribcage")

    def use_code(self, tx: Transaction, person_id: bytes, code: str, now: float) -> None:
        """Use up a one-time password (rule 1). Raises GuardRefused('not_authenticated')."""
        identifier, counter = self._matching_counter(person_id, code, now)
        current = self._current(tx, identifier)
        if counter <= int(current["last_counter"]):
            raise GuardRefused("not_authenticated")
        self._rows.update(tx.connection, factor, dict(current, last_counter=counter))

    def spend_code(self, person_id: bytes, code: str, now: float) -> int:
        """Use up a one-time password in memory alone; its counter. Raises GuardRefused('not_authenticated').

        For break-glass in a fault: its record keeps the counter (`spent`), which `settle_code` makes durable.
        """
        _, counter = self._matching_counter(person_id, code, now)
        self.spent(person_id, counter)
        return counter

    def spent(self, person_id: bytes, counter: int) -> None:
        """A code of this counter was used up."""
        self._spent[person_id] = max(counter, self._spent.get(person_id, 0))

    def settle_code(self, tx: Transaction, person_id: bytes, counter: int) -> None:
        """Make a spent code's use durable."""
        for row in self._of(person_id, "totp"):
            current = self._current(tx, bytes(row["id"]))
            if int(current["last_counter"]) < counter:
                self._rows.update(tx.connection, factor, dict(current, last_counter=counter))

    def _matching_counter(self, person_id: bytes, code: str, now: float) -> tuple[bytes, int]:
        for row in self._of(person_id, "totp"):
            try:
                totp = pyotp.TOTP(self._open(row).decode())
            except CryptoError:
                continue
            step = int(now) // _STEP_SECONDS
            used = max(int(row["last_counter"]), self._spent.get(person_id, 0))
            for counter in (step, step - 1, step + 1):
                if counter > used and hmac.compare_digest(
                    totp.generate_otp(counter).encode(), code.strip().encode()
                ):
                    return bytes(row["id"]), counter
        raise GuardRefused("not_authenticated")

    def has_totp(self, person_id: bytes) -> bool:
        """Whether the person has a one-time password."""
        return any(self._of(person_id, "totp"))

    # --- passkeys ---------------------------------------------------------------------------------------

    def passkeys(self, person_id: bytes) -> list[HeldPasskey]:
        """The person's passkeys, in order of registration; one that does not open is absent."""
        held = list(self._opened(self._of(person_id, "passkey")))
        return sorted(held, key=lambda each: each.passkey.created_at)

    def find_passkey(self, credential: bytes) -> HeldPasskey:
        """The passkey with this credential id, of whomever. Raises GuardRefused('not_authenticated')."""
        rows = (row for row in list(self._memory.values()) if row["kind"] == "passkey")
        for each in self._opened(rows):
            if hmac.compare_digest(each.passkey.credential, credential):
                return each
        raise GuardRefused("not_authenticated")

    def knows(self, credential: bytes) -> bool:
        """Whether somebody has registered this credential."""
        try:
            self.find_passkey(credential)
        except GuardRefused:
            return False
        return True

    def _opened(self, rows: Iterable[dict[str, Any]]) -> Iterator[HeldPasskey]:
        for row in rows:
            try:
                passkey = msgspec.json.decode(self._open(row), type=Passkey)
            except (CryptoError, msgspec.DecodeError):
                continue
            yield HeldPasskey(bytes(row["id"]), bytes(row["person_id"]), int(row["last_counter"]), passkey)

    def add_passkey(
        self, tx: Transaction, person_id: bytes, new: NewPasskey, label: str, now: float
    ) -> bytes:
        """Keep a verified passkey; returns its id."""
        kept = Passkey(new.credential_id, new.public_key, label, now, 0.0, new.user_verified)
        return self._insert(tx, person_id, "passkey", msgspec.json.encode(kept), new.sign_count)

    def use_passkey(self, tx: Transaction, held: HeldPasskey, sign_count: int, now: float) -> None:
        """Record a verified use. Raises PasskeyCopied when the count went back (rule 2)."""
        current = self._current(tx, held.id)
        before = int(current["last_counter"])
        if current["kind"] != "passkey":
            raise GuardRefused("not_authenticated")
        if (sign_count or before) and sign_count <= before:
            raise PasskeyCopied
        used = self._seal(held.id, msgspec.json.encode(msgspec.structs.replace(held.passkey, used_at=now)))
        self._rows.update(tx.connection, factor, dict(current, last_counter=sign_count, secret=used))

    def remove_passkey(self, tx: Transaction, person_id: bytes, identifier: bytes) -> None:
        """Remove one of the person's passkeys. Raises GuardRefused('not_found')."""
        if identifier not in {each.id for each in self.passkeys(person_id)}:
            raise GuardRefused("not_found")
        self._remove(tx, identifier)

    def _remove(self, tx: Transaction, identifier: bytes) -> None:
        self._rows.update(
            tx.connection, factor, dict(self._current(tx, identifier), kind="removed", secret=b"")
        )

    # --- a reset, asked for or on its way (`guard.factor_resets`) ----------------------------------------

    def keep(self, tx: Transaction, person_id: bytes, kind: ResetKind, secret: bytes) -> None:
        """Keep this in place of what was kept."""
        self.remove_all(tx, person_id, (kind,))
        self._insert(tx, person_id, kind, secret, 0)

    def kept(self, tx: Transaction, person_id: bytes, kind: ResetKind) -> tuple[bytes, int]:
        """What is kept, as it stands now, and wrong tries so far. Raises GuardRefused('not_found')."""
        query = sa.select(factor).where(factor.c.person_id == person_id, factor.c.kind == kind)
        for row in tx.connection.execute(query).mappings():
            checked = self._rows.check(factor, row)
            return self._open(checked), int(checked["last_counter"])
        raise GuardRefused("not_found")

    def held(self, person_id: bytes, kind: ResetKind) -> bytes:
        """The same from memory; b"" where there is none."""
        return next((self._open(row) for row in self._of(person_id, kind)), b"")

    def count_try(self, tx: Transaction, person_id: bytes, kind: ResetKind) -> None:
        """One wrong try more."""
        query = sa.select(factor).where(factor.c.person_id == person_id, factor.c.kind == kind)
        for row in list(tx.connection.execute(query).mappings()):
            current = self._rows.check(factor, row)
            self._rows.update(
                tx.connection, factor, dict(current, last_counter=int(current["last_counter"]) + 1)
            )

    def remove_all(self, tx: Transaction, person_id: bytes, kinds: Iterable[str]) -> None:
        """Remove every factor of these kinds, as they stand in this transaction."""
        query = sa.select(factor.c.id).where(factor.c.person_id == person_id, factor.c.kind.in_(list(kinds)))
        for identifier in list(tx.connection.execute(query).scalars()):
            self._remove(tx, bytes(identifier))

    # --- recovery codes ---------------------------------------------------------------------------------

    def make_codes(self, tx: Transaction, person_id: bytes) -> list[str]:
        """Ten new codes, shown once; those before end (rule 3)."""
        for row in self._of(person_id, "recovery"):
            self._remove(tx, bytes(row["id"]))
        codes = [new_code() for _ in range(RECOVERY_CODES)]
        self._insert(tx, person_id, "recovery", b"".join(code_hash(each) for each in codes), 0)
        return codes

    def use_recovery(self, tx: Transaction, person_id: bytes, code: str) -> None:
        """Use up a recovery code. Raises GuardRefused('not_authenticated') for a wrong or used one."""
        wanted = code_hash(code)
        for row in self._of(person_id, "recovery"):
            current = self._current(tx, bytes(row["id"]))
            if current["kind"] != "recovery":
                continue
            hashes, used = self._open(current), int(current["last_counter"])
            for number in range(len(hashes) // _HASH_BYTES):
                each = hashes[number * _HASH_BYTES : (number + 1) * _HASH_BYTES]
                if not used >> number & 1 and hmac.compare_digest(each, wanted):
                    self._rows.update(tx.connection, factor, dict(current, last_counter=used | 1 << number))
                    return
        raise GuardRefused("not_authenticated")

    def has_codes(self, person_id: bytes) -> bool:
        """Whether recovery codes were made."""
        return any(self._of(person_id, "recovery"))

    def codes_left(self, person_id: bytes) -> int:
        """How many recovery codes are not used."""
        return sum(
            RECOVERY_CODES - int(row["last_counter"]).bit_count() for row in self._of(person_id, "recovery")
        )


def new_code() -> str:
    """80 random bits as people write them."""
    text = base64.b32encode(os.urandom(_CODE_BYTES)).decode()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def code_hash(code: str) -> bytes:
    """SHA-256 of a recovery code as people type it: hyphens, spaces and case do not count."""
    return hashlib.sha256("".join(code.split()).replace("-", "").upper().encode()).digest()
