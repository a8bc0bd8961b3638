"""Persons and sessions: all verified here, inside the guard. Their second factors are in `guard.factors`.

Rules, in order:
1. Every row is read with its MAC; a row that fails is treated as absent and reported (DESIGN, index).
2. A session proof is `0x01 ‖ session id[16] ‖ secret[32]`; the database holds SHA-256(secret) only.
3. An unknown user name costs the same Argon2id as a wrong password.
4. The second factor is fresh for 15 minutes, sliding with use; 8 hours for the assigned reader.
5. A session belongs to the client that logged in: its address and what its browser calls itself. Anybody can call
   itself so: this hinders a thief who is elsewhere, and no other.
6. Its secret is replaced from time to time; who shows an old one is a thief or was robbed (`guard.session_secrets`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from typing import Any, Literal

import argon2
import sqlalchemy as sa

from ribcage.crypto.derive import derive
from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import factor, person, session
from ribcage.guard.committer import Transaction
from ribcage.guard.errors import GuardRefused
from ribcage.guard.factors import Factors
from ribcage.guard.limits import GuardLimits
from ribcage.guard.protocol import Session
from ribcage.guard.rows import MacRows
from ribcage.guard.session_secrets import Secrets

ROLES = ("administrator", "clinician", "officer", "radiologist", "technologist")
STORING_ROLES = frozenset({"radiologist", "technologist"})
_PROOF_VERSION = b"\x01"
_ID_BYTES = 16
_SECRET_BYTES = 32
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
    second_factor: str = ""  # which one
    secret: bytes = b""  # SHA-256 of the one that was shown

    def assurance(self, now: float) -> int:
        """2 while the second factor is fresh, else 1."""
        return 2 if now < self.second_factor_until else 1


Misuse = Literal["another-client", "superseded-secret"]


class SessionMisused(GuardRefused):
    """A right secret in wrong hands (rules 5 and 6); the asker hears only that it is not authenticated."""

    def __init__(self, session_id: bytes, person_id: bytes, address: str, how: Misuse) -> None:
        super().__init__("not_authenticated")
        self.session_id = session_id
        self.person_id = person_id
        self.address = address
        self.how: Misuse = how


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

    def __init__(self, engine: sa.Engine, rows: MacRows, key: bytes, limits: GuardLimits) -> None:
        self._rows = rows
        self._key = key
        self._limits = limits
        self._last_use: dict[bytes, float] = {}
        self._seen: dict[bytes, float] = {}
        self._shown: dict[bytes, tuple[bytes, float]] = {}  # session -> issued secret, when first shown
        self._decoy = _decoy()
        self.findings: list[str] = []
        with engine.connect() as connection:
            self._persons = self._load(connection, person)
            self._factors = self._load(connection, factor)
            self._sessions = self._load(connection, session)
        self.factors = Factors(rows, self._factors, key)
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
        if identifier is None or identifier not in self._persons:
            raise GuardRefused("not_found")
        return self._persons[identifier]

    def all(self) -> list[dict[str, Any]]:
        """Every person, by user name."""
        return sorted(self._persons.values(), key=lambda row: str(row["username"]))

    def get(self, person_id: bytes) -> dict[str, Any] | None:
        """The person's row by id, None where there is none that holds."""
        return self._persons.get(person_id)

    def active(self, person_id: bytes) -> bool:
        """Whether the person exists and is not suspended."""
        row = self._persons.get(person_id)
        return row is not None and not row["suspended"]

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
        identifier = os.urandom(_ID_BYTES)
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
        uri = self.factors.add_totp(tx, identifier, username)
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

    def open_session(
        self,
        tx: Transaction,
        person_id: bytes,
        now: float,
        client: tuple[str, bytes],
        second_factor: str = "",
    ) -> tuple[bytes, float]:
        """A new session; returns `(proof, expires_at)`. `client`: address, and what the browser calls itself."""
        identifier, secret = os.urandom(_ID_BYTES), os.urandom(_SECRET_BYTES)
        expires_at = now + self._limits.session_seconds
        secrets_ = Secrets(hashlib.sha256(secret).digest(), b"", now, ())
        row = {
            "id": identifier,
            "person_id": person_id,
            **secrets_.columns(),
            "client": self._client(*client),
            "address": client[0],
            "created_at": now,
            "used_at": now,
            "expires_at": expires_at,
            "second_factor_at": now if second_factor else 0.0,
            "second_factor": second_factor,
            "ended": 0,
        }
        self._rows.insert(tx.connection, session, row)
        return _PROOF_VERSION + identifier + secret, expires_at

    def _client(self, address: str, client: bytes) -> bytes:
        return derive(self._key, "session/client", hashlib.sha256(address.encode()).digest() + client)

    def visitor(self, shown: Session, now: float) -> Visitor:
        """The verified session behind a proof. Raises GuardRefused('not_authenticated') or SessionMisused."""
        identifier, secret = split_proof(shown.proof)
        row = self._sessions.get(identifier)
        if row is None:
            raise GuardRefused("not_authenticated")
        digest = hashlib.sha256(secret).digest()
        held, good = self._secrets(row), True
        if not hmac.compare_digest(digest, held.current):
            good = self._may_be_older(identifier, held, digest, shown, now)
        if not self._live(row, now):
            raise GuardRefused("not_authenticated")
        self._check_client(row, shown)
        if not good:
            raise SessionMisused(identifier, bytes(row["person_id"]), shown.address, "superseded-secret")
        if held.issued and hmac.compare_digest(digest, held.issued):
            self._shown[identifier] = (held.issued, now)
        self._seen[identifier] = now
        return self._visitor(row, digest)

    def _secrets(self, row: dict[str, Any]) -> Secrets:
        """The row's secrets, and what memory knows of the issued one."""
        held = Secrets.of(row)
        shown = self._shown.get(bytes(row["id"]))
        return held.shown_issued(shown[1]) if shown is not None and shown[0] == held.issued else held

    def _may_be_older(
        self, identifier: bytes, held: Secrets, digest: bytes, shown: Session, now: float
    ) -> bool:
        """Whether a secret that is not the current one is still good. Raises GuardRefused where it never was ours."""
        if held.issued and hmac.compare_digest(digest, held.issued):
            return True
        at = held.superseded_at(digest)
        if at is None:
            raise GuardRefused("not_authenticated")
        until = at + self._limits.session_grace_seconds
        began = shown.began if now - self._limits.long_request_seconds < shown.began <= now else now
        return began < until

    def _check_client(self, row: dict[str, Any], shown: Session) -> None:
        if not hmac.compare_digest(bytes(row["client"]), self._client(shown.address, shown.client)):
            raise SessionMisused(bytes(row["id"]), bytes(row["person_id"]), shown.address, "another-client")

    def _live(self, row: dict[str, Any], now: float) -> bool:
        return self.active(bytes(row["person_id"])) and not row["ended"] and now < float(row["expires_at"])

    def revisit(self, visitor: Visitor, now: float) -> Visitor:
        """The same session now, whatever its secret is by now. Raises GuardRefused('not_authenticated')."""
        row = self._sessions.get(visitor.session_id)
        if row is None or not self._live(row, now):
            raise GuardRefused("not_authenticated")
        return self._visitor(row, visitor.secret)

    def _visitor(self, row: dict[str, Any], digest: bytes) -> Visitor:
        owner = self._persons[bytes(row["person_id"])]
        return Visitor(
            session_id=bytes(row["id"]),
            person_id=bytes(owner["id"]),
            username=str(owner["username"]),
            display_name=str(owner["display_name"]),
            roles=frozenset(str(owner["roles"]).split()),
            department=str(owner["department"]),
            expires_at=float(row["expires_at"]),
            second_factor_until=self._fresh_until(row),
            second_factor=str(row["second_factor"]),
            secret=digest,
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

    def proved(self, tx: Transaction, visitor: Visitor, second_factor: str, now: float) -> bytes:
        """A second factor was given: fresh from now on, and a new secret is issued; its proof, b"" where none."""
        return self._write(tx, visitor, now, {"second_factor_at": now, "second_factor": second_factor})

    def rotation_due(self, visitor: Visitor, now: float) -> bool:
        """Whether it is time to issue a new secret."""
        held, limits = self._secrets(self._sessions[visitor.session_id]), self._limits
        return held.due(now, limits.session_rotation_seconds, limits.session_grace_seconds)

    def rotate(self, tx: Transaction, visitor: Visitor, now: float) -> bytes:
        """Issue a new secret; its proof, b"" where one is on its way to another tab already."""
        return self._write(tx, visitor, now, {})

    def _write(self, tx: Transaction, visitor: Visitor, now: float, changed: dict[str, Any]) -> bytes:
        """The session's next row, from its row in this transaction, with the next secret where one may be issued."""
        row = self._current(tx, visitor.session_id)
        held, proof = self._secrets(row), b""
        newest = held.current == visitor.secret
        if newest and held.may_issue(now, self._limits.session_grace_seconds):
            secret = os.urandom(_SECRET_BYTES)
            held = held.issue(hashlib.sha256(secret).digest(), now)
            proof = _PROOF_VERSION + visitor.session_id + secret
        columns = dict(row, **held.columns(), used_at=now, **changed)
        self._rows.update(tx.connection, session, columns)
        return proof

    def _current(self, tx: Transaction, session_id: bytes) -> dict[str, Any]:
        query = sa.select(session).where(session.c.id == session_id)
        row = tx.connection.execute(query).mappings().one_or_none()
        if row is None or row["ended"]:
            raise GuardRefused("not_authenticated")
        return self._rows.check(session, row)

    def live_sessions(self, person_id: bytes, now: float) -> list[dict[str, Any]]:
        """The person's live sessions, newest first; `used_at` as late as memory knows."""
        rows = [row for row in self._sessions.values() if bytes(row["person_id"]) == person_id]
        seen = [dict(row, used_at=self._used_at(row)) for row in rows if self._live(row, now)]
        return sorted(seen, key=lambda row: float(row["created_at"]), reverse=True)

    def sessions_of(self, person_id: bytes) -> list[bytes]:
        """Ids of all sessions that have not been ended, suspended or not."""
        rows = self._sessions.values()
        return [bytes(r["id"]) for r in rows if bytes(r["person_id"]) == person_id and not r["ended"]]

    def _used_at(self, row: dict[str, Any]) -> float:
        return max(float(row["used_at"]), self._seen.get(bytes(row["id"]), 0.0))

    def end_session(self, tx: Transaction, session_id: bytes) -> None:
        """End one session; one that has ended stays so."""
        try:
            row = self._current(tx, session_id)
        except GuardRefused:
            return
        self._rows.update(tx.connection, session, dict(row, ended=1))

    def end_now(self, session_id: bytes) -> None:
        """In memory, before it is durable: no request slips in between."""
        if session_id in self._sessions:
            self._sessions[session_id] = dict(self._sessions[session_id], ended=1)
