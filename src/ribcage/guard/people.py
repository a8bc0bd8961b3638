"""Persons, their factors and sessions: all verified here, inside the guard.

Rules, in order:
1. Every row is read with its MAC; a row that fails is treated as absent and reported (DESIGN, index).
2. A session proof is `0x01 ‖ session id[16] ‖ secret[32]`; the database holds SHA-256(secret) only.
3. An unknown user name costs the same Argon2id as a wrong password.
4. A one-time password (RFC 6238, 30 s, SHA-1, 6 digits) is accepted once, within one step of the clock.
5. The second factor is fresh for 15 minutes, sliding with use; 8 hours for the assigned reader.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from typing import Any

import argon2
import pyotp
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError, RowTampered
from ribcage.database.schema import factor, person, session
from ribcage.guard.committer import Transaction
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits
from ribcage.guard.rows import MacRows

ROLES = ("administrator", "clinician", "officer", "radiologist", "technologist")
STORING_ROLES = frozenset({"radiologist", "technologist"})
_PROOF_VERSION = b"\x01"
_ID_BYTES = 16
_SECRET_BYTES = 32
_STEP_SECONDS = 30
_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)


@dataclass(frozen=True)
class Visitor:
    """A verified session: who, since when, and how sure we are right now."""

    session_id: bytes
    person_id: bytes
    username: str
    display_name: str
    roles: frozenset[str]
    department: str
    expires_at: float
    second_factor_until: float

    def assurance(self, now: float) -> int:
        """2 while the second factor is fresh, else 1."""
        return 2 if now < self.second_factor_until else 1


def _decoy() -> str:
    """A hash of no password, with our parameters: checking against it costs what a real check costs (rule 3)."""
    salt, tag = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
    cost = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${tag}"


def split_proof(proof: bytes) -> tuple[bytes, bytes]:
    """`(session id, secret)`. Raises GuardRefused for anything that is not a session proof."""
    if len(proof) != 1 + _ID_BYTES + _SECRET_BYTES or proof[:1] != _PROOF_VERSION:
        raise GuardRefused("not_authenticated")
    return proof[1 : 1 + _ID_BYTES], proof[1 + _ID_BYTES :]


class People:
    """The guard's memory of persons and sessions; the database is its durable copy."""

    def __init__(self, engine: sa.Engine, rows: MacRows, factor_key: bytes, limits: GuardLimits) -> None:
        self._rows = rows
        self._factor_key = factor_key
        self._limits = limits
        self._last_use: dict[bytes, float] = {}
        self._decoy = _decoy()
        self.findings: list[str] = []
        with engine.connect() as connection:
            self._persons = self._load(connection, person)
            self._factors = self._load(connection, factor)
            self._sessions = self._load(connection, session)
        self._by_name = {row["username"]: row["id"] for row in self._persons.values()}

    def _load(self, connection: sa.Connection, table: sa.Table) -> dict[bytes, dict[str, Any]]:
        loaded = {}
        for number, row in enumerate(self._rows.all(connection, table), 1):
            try:
                loaded[bytes(row["id"])] = self._rows.check(table, row)
            except RowTampered:
                self.findings.append(f"{table.name} row {number} does not carry the guard's MAC: ignored")
        return loaded

    # --- persons ----------------------------------------------------------------------------------------

    def find(self, username: str) -> dict[str, Any]:
        """The person's row. Raises GuardRefused('not_found')."""
        identifier = self._by_name.get(username)
        if identifier is None:
            raise GuardRefused("not_found")
        if identifier not in self._persons:
            raise GuardRefused("not_found")
        return self._persons[identifier]

    def name_of(self, person_id: bytes) -> str:
        """User name of a person, for reports."""
        row = self._persons.get(person_id)
        return str(row["username"]) if row else person_id.hex()

    def add(
        self,
        tx: Transaction,
        username: str,
        display_name: str,
        roles: list[str],
        department: str,
        password: str,
    ) -> tuple[bytes, str, str]:
        """Create a person with a TOTP factor; returns `(id, password, otpauth URI)`."""
        if username in self._by_name:
            raise GuardRefused("conflict")
        if not roles or not set(roles) <= set(ROLES) or not username.strip():
            raise GuardRefused("invalid")
        identifier, secret = os.urandom(_ID_BYTES), pyotp.random_base32()
        password = password or secrets.token_urlsafe(12)
        self._rows.insert(
            tx.connection,
            person,
            {
                "id": identifier,
                "username": username,
                "display_name": display_name,
                "roles": " ".join(sorted(set(roles))),
                "department": department,
                "password_hash": _HASHER.hash(password),
                "suspended": 0,
            },
        )
        factor_id = os.urandom(_ID_BYTES)
        sealed = seal_column(self._factor_key, column_context("factor", "secret", factor_id), secret.encode())
        self._rows.insert(
            tx.connection,
            factor,
            {"id": factor_id, "person_id": identifier, "kind": "totp", "secret": sealed, "last_counter": 0},
        )
        uri = pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name="Ribcage")
        return identifier, password, uri

    def refresh(self, connection: sa.Connection, person_id: bytes) -> None:
        """Take a person's committed rows into memory; one that does not hold is absent (rule 1)."""
        for table, memory, column in (
            (person, self._persons, person.c.id),
            (factor, self._factors, factor.c.person_id),
            (session, self._sessions, session.c.person_id),
        ):
            for row in connection.execute(sa.select(table).where(column == person_id)).mappings():
                try:
                    memory[bytes(row["id"])] = self._rows.check(table, row)
                except RowTampered:
                    memory.pop(bytes(row["id"]), None)
                    self._report(f"a row of {table.name} was changed while the guard ran: ignored")
        if person_id in self._persons:
            self._by_name[self._persons[person_id]["username"]] = person_id

    def _report(self, finding: str) -> None:
        if finding not in self.findings:
            self.findings.append(finding)

    def suspend(self, tx: Transaction, username: str, suspended: bool) -> bytes:
        """Suspend or restore; suspended persons have no session from now on."""
        row = self.find(username)
        self._rows.update(tx.connection, person, dict(row, suspended=int(suspended)))
        return bytes(row["id"])

    # --- sessions ---------------------------------------------------------------------------------------

    def check_password(self, username: str, password: str) -> bytes | None:
        """Person id, or None. Costs one Argon2id whatever happens; run it on a thread."""
        row = self._persons.get(self._by_name.get(username, b""))
        try:
            _HASHER.verify(row["password_hash"] if row else self._decoy, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return None
        return bytes(row["id"]) if row and not row["suspended"] else None

    def open_session(self, tx: Transaction, person_id: bytes, now: float) -> tuple[bytes, float]:
        """A new session of assurance 1; returns `(proof, expires_at)`."""
        identifier, secret = os.urandom(_ID_BYTES), os.urandom(_SECRET_BYTES)
        expires_at = now + self._limits.session_seconds
        self._rows.insert(
            tx.connection,
            session,
            {
                "id": identifier,
                "person_id": person_id,
                "secret_sha256": hashlib.sha256(secret).digest(),
                "created_at": now,
                "expires_at": expires_at,
                "second_factor_at": 0.0,
                "ended": 0,
            },
        )
        return _PROOF_VERSION + identifier + secret, expires_at

    def visitor(self, proof: bytes, now: float) -> Visitor:
        """The verified session behind `proof`. Raises GuardRefused('not_authenticated')."""
        identifier, secret = split_proof(proof)
        row = self._sessions.get(identifier)
        if row is None or not hmac.compare_digest(
            hashlib.sha256(secret).digest(), bytes(row["secret_sha256"])
        ):
            raise GuardRefused("not_authenticated")
        owner = self._persons.get(bytes(row["person_id"]))
        if owner is None or owner["suspended"] or row["ended"] or now >= float(row["expires_at"]):
            raise GuardRefused("not_authenticated")
        return Visitor(
            session_id=identifier,
            person_id=bytes(owner["id"]),
            username=str(owner["username"]),
            display_name=str(owner["display_name"]),
            roles=frozenset(str(owner["roles"]).split()),
            department=str(owner["department"]),
            expires_at=float(row["expires_at"]),
            second_factor_until=self._fresh_until(row),
        )

    def _fresh_until(self, row: dict[str, Any]) -> float:
        proved = float(row["second_factor_at"])
        if not proved:
            return 0.0
        used = max(proved, self._last_use.get(bytes(row["id"]), 0.0))
        return min(used + self._limits.second_factor_seconds, float(row["expires_at"]))

    def shift_until(self, visitor: Visitor) -> float:
        """How long the assigned reader's second factor holds (a shift)."""
        row = self._sessions[visitor.session_id]
        proved = float(row["second_factor_at"])
        return min(proved + self._limits.reader_shift_seconds, visitor.expires_at) if proved else 0.0

    def used(self, visitor: Visitor, now: float) -> None:
        """Slide the second factor's window: called for each allowed use while it is fresh."""
        if now < visitor.second_factor_until:
            self._last_use[visitor.session_id] = now

    def step_up(self, tx: Transaction, visitor: Visitor, code: str, now: float) -> None:
        """Accept a one-time password. Raises GuardRefused('not_authenticated') for a wrong or used code."""
        self.use_code(tx, visitor.person_id, code, now)
        live = self._sessions[visitor.session_id]
        self._rows.update(tx.connection, session, dict(live, second_factor_at=now))

    def use_code(self, tx: Transaction, person_id: bytes, code: str, now: float) -> None:
        """Use up a one-time password. Raises GuardRefused('not_authenticated') for a wrong or used one."""
        counter = self._matching_counter(person_id, code, now)
        row = next(f for f in self._factors.values() if bytes(f["person_id"]) == person_id)
        query = sa.select(factor).where(factor.c.id == row["id"])
        current = tx.connection.execute(query).mappings().one_or_none()
        if current is None:
            raise GuardRefused("not_authenticated")
        checked = self._rows.check(factor, current)
        if counter <= int(checked["last_counter"]):
            raise GuardRefused("not_authenticated")
        self._rows.update(tx.connection, factor, dict(checked, last_counter=counter))

    def _matching_counter(self, person_id: bytes, code: str, now: float) -> int:
        for row in self._factors.values():
            if bytes(row["person_id"]) != person_id:
                continue
            try:
                context = column_context("factor", "secret", bytes(row["id"]))
                totp = pyotp.TOTP(open_column(self._factor_key, context, bytes(row["secret"])).decode())
            except CryptoError:
                continue
            step = int(now) // _STEP_SECONDS
            for counter in (step, step - 1, step + 1):
                if counter > int(row["last_counter"]) and hmac.compare_digest(
                    totp.generate_otp(counter).encode(), code.strip().encode()
                ):
                    return counter
        raise GuardRefused("not_authenticated")

    def end_session(self, tx: Transaction, visitor: Visitor) -> None:
        """End one session."""
        self._rows.update(tx.connection, session, dict(self._sessions[visitor.session_id], ended=1))
