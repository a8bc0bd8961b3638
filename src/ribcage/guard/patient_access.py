"""A patient's way in: invitations, sessions. A patient's session is no principal: no image opens for it.

Rules, in order:
1. An invitation is 128 random bits; SHA-256 of them and a keyed digest of the birth date are kept, under the guard's
   MAC. It works once, until it expires, and is dead after five wrong birth dates. A new one ends those before.
2. Token and birth date must fit, both; whatever is wrong, the answer is the same, after an entry.
3. The birth date is the archive's: where it has none for this patient, or several, nobody is invited.
4. A session proof is `0x02 ‖ session id[16] ‖ secret[32]`, SHA-256(secret) is kept. It lasts 30 minutes and belongs
   to what the browser calls itself. Every request reads its row with its MAC, and the patient's.
5. A patient whose last study was destroyed has no session: the key that the identity hangs on is gone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from ribcage.crypto.derive import derive
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import invitation, patient_passkey, patient_session, study
from ribcage.evidence.audit_event import (
    AccessChange,
    AssociationRefused,
    PatientAccessChanged,
    PatientActor,
    StrangerActor,
)
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.accounts import Throttle
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused

_PROOF_VERSION = b"\x02"
_ID_BYTES, _SECRET_BYTES, _TOKEN_BYTES = 16, 32, 16
_TOKEN = re.compile(r"[A-Za-z0-9_\-]{22}")
_DAY = 86400
_STUDIES = 10_000


@dataclass(frozen=True)
class PatientVisitor:
    """A verified patient's session."""

    session_id: bytes
    patient_id: bytes
    key: bytes
    expires_at: float
    address: str

    @property
    def evidence(self) -> PatientActor:
        """How the log names the patient."""
        return PatientActor(self.patient_id, self.address)


class PatientAccess:
    """Invites, lets in, knows who is there."""

    def __init__(self, core: Core, push: Callable[[p.Told], None]) -> None:
        self._core = core
        self._push = push
        self._key = core.keyring.service("session")
        limits = core.limits
        self._throttle = Throttle(limits.enter_attempts, limits.password_window_seconds)

    # --- invitations ------------------------------------------------------------------------------------

    async def invite(self, actor: Actor, request: p.InvitePatient) -> p.PatientInvited:
        """Rules 1 and 3. Raises GuardRefused('not_found' | 'conflict' | 'invalid')."""
        core, now = self._core, self._core.clock()
        if not 1 <= request.days <= core.limits.invitation_days:
            raise GuardRefused("invalid")
        patient_id, key = catalogue.find_patient(core, request.patient)
        birth_date = self._birth_date(patient_id, key)
        identifier, token = os.urandom(_ID_BYTES), os.urandom(_TOKEN_BYTES)
        expires_at = now + request.days * _DAY
        row = {
            "id": identifier,
            "patient_id": patient_id,
            "token_sha256": hashlib.sha256(token).digest(),
            "birth_digest": self._birth_digest(identifier, birth_date),
            "created_at": now,
            "expires_at": expires_at,
            "tries": 0,
            "state": "open",
        }
        event = PatientAccessChanged(actor.evidence, patient_id, "invited", int(expires_at * 1000))

        def write(tx: Transaction) -> None:
            mine = sa.select(invitation).where(
                invitation.c.patient_id == patient_id, invitation.c.state == "open"
            )
            for older in tx.connection.execute(mine).mappings().all():
                core.rows.update(tx.connection, invitation, dict(older, state="dead"))
            core.rows.insert(tx.connection, invitation, row)
            core.append(tx, event)

        await core.committer.run(write)
        return p.PatientInvited(base64.urlsafe_b64encode(token).rstrip(b"=").decode(), expires_at)

    def _birth_date(self, patient_id: bytes, key: bytes) -> str:
        """The one birth date that this patient's studies agree on. Raises GuardRefused('conflict')."""
        query = sa.select(study.c.uid, study.c.sealed).where(study.c.patient_id == patient_id)
        with self._core.engine.connect() as connection:
            rows = connection.execute(query.limit(_STUDIES)).all()
        try:
            dates = {
                catalogue.open_facts(key, row.uid, bytes(row.sealed)).patient_birth_date.strip()
                for row in rows
            }
        except CryptoError as failure:
            raise GuardRefused("unavailable") from failure
        known = dates - {""}
        if len(known) != 1 or not _is_date(*known):
            raise GuardRefused("conflict")
        return known.pop()

    def _birth_digest(self, identifier: bytes, birth_date: str) -> bytes:
        return birth_digest(self._key, identifier, birth_date)

    # --- in ---------------------------------------------------------------------------------------------

    async def enter(self, request: p.EnterPatient) -> p.PatientState:
        """Rule 2. Raises GuardRefused('not_authenticated' | 'throttled' | 'invalid')."""
        core, now = self._core, self._core.clock()
        if not _is_date(request.birth_date):
            raise GuardRefused("invalid")
        key = f"enter@{request.address}"
        self._throttle.check(key, now)
        token = hashlib.sha256(_token(request.token)).digest()

        def write(tx: Transaction) -> tuple[bytes, bytes] | None:
            row = self._open_invitation(tx, token, now)
            if row is None:
                stranger = StrangerActor(request.address)
                core.append(tx, AssociationRefused(stranger, "https", "unknown-invitation"))
                return None
            due = self._birth_digest(bytes(row["id"]), request.birth_date)
            if not hmac.compare_digest(bytes(row["birth_digest"]), due):
                self._count_try(tx, row, request.address)
                return None
            patient_id = bytes(row["patient_id"])
            core.rows.update(tx.connection, invitation, dict(row, state="used"))
            proof = self.open_session(tx, patient_id, (request.address, request.client), "entered")
            return proof, patient_id

        entered = await core.committer.run(write)
        if entered is None:
            self._throttle.failed(key, now)
            raise GuardRefused("not_authenticated")
        return self.state_of(p.PatientSession(entered[0], request.address, request.client), proof=entered[0])

    def _open_invitation(self, tx: Transaction, token: bytes, now: float) -> dict[str, Any] | None:
        query = sa.select(invitation).where(invitation.c.token_sha256 == token)
        row = tx.connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        try:
            checked = self._core.rows.check(invitation, row)
            catalogue.patient_key(self._core, bytes(row["patient_id"]))
        except (CryptoError, GuardRefused):
            return None
        return checked if checked["state"] == "open" and now < float(checked["expires_at"]) else None

    def _count_try(self, tx: Transaction, row: dict[str, Any], address: str) -> None:
        core, tries = self._core, int(row["tries"]) + 1
        state = "dead" if tries >= core.limits.invitation_tries else "open"
        core.rows.update(tx.connection, invitation, dict(row, tries=tries, state=state))
        event = PatientAccessChanged(StrangerActor(address), bytes(row["patient_id"]), "wrong-birth-date")
        core.append(tx, event)

    # --- sessions ---------------------------------------------------------------------------------------

    def open_session(
        self, tx: Transaction, patient_id: bytes, client: tuple[str, bytes], change: AccessChange
    ) -> bytes:
        """A new session with its entry; its proof. The oldest beyond the limit end."""
        core, now = self._core, self._core.clock()
        live = (
            sa.select(patient_session)
            .where(*_live(now), patient_session.c.patient_id == patient_id)
            .order_by(patient_session.c.created_at.desc())
            .offset(core.limits.patient_sessions - 1)
        )
        for row in tx.connection.execute(live).mappings().all():
            core.rows.update(tx.connection, patient_session, dict(row, ended=1))
        identifier, secret = os.urandom(_ID_BYTES), os.urandom(_SECRET_BYTES)
        new = {
            "id": identifier,
            "patient_id": patient_id,
            "secret_sha256": hashlib.sha256(secret).digest(),
            "client": hashlib.sha256(client[1]).digest(),
            "created_at": now,
            "expires_at": now + core.limits.patient_session_seconds,
            "ended": 0,
        }
        core.rows.insert(tx.connection, patient_session, new)
        core.append(tx, PatientAccessChanged(PatientActor(patient_id, client[0]), patient_id, change))
        return _PROOF_VERSION + identifier + secret

    def visitor(self, shown: p.PatientSession) -> PatientVisitor:
        """Rule 4. Raises GuardRefused('not_authenticated')."""
        core, proof = self._core, shown.proof
        if len(proof) != 1 + _ID_BYTES + _SECRET_BYTES or proof[:1] != _PROOF_VERSION:
            raise GuardRefused("not_authenticated")
        identifier, secret = proof[1 : 1 + _ID_BYTES], proof[1 + _ID_BYTES :]
        row = self._row(identifier)
        if row is None or row["ended"] or core.clock() >= float(row["expires_at"]):
            raise GuardRefused("not_authenticated")
        self._check_secret(row, secret)
        self._check_client(row, shown)
        try:
            key = catalogue.patient_key(core, bytes(row["patient_id"]))
        except (CryptoError, GuardRefused) as failure:
            raise GuardRefused("not_authenticated") from failure
        return PatientVisitor(
            identifier, bytes(row["patient_id"]), key, float(row["expires_at"]), shown.address
        )

    def _row(self, identifier: bytes) -> dict[str, Any] | None:
        with self._core.engine.connect() as connection:
            query = sa.select(patient_session).where(patient_session.c.id == identifier)
            row = connection.execute(query).mappings().one_or_none()
        try:
            return None if row is None else self._core.rows.check(patient_session, row)
        except CryptoError:
            return None

    @staticmethod
    def _check_secret(row: dict[str, Any], secret: bytes) -> None:
        if not hmac.compare_digest(bytes(row["secret_sha256"]), hashlib.sha256(secret).digest()):
            raise GuardRefused("not_authenticated")

    @staticmethod
    def _check_client(row: dict[str, Any], shown: p.PatientSession) -> None:
        if not hmac.compare_digest(bytes(row["client"]), hashlib.sha256(shown.client).digest()):
            raise GuardRefused("not_authenticated")

    async def describe(self, request: p.DescribePatient) -> p.PatientState:
        """What the session may know of itself."""
        return self.state_of(request.session)

    def state_of(self, session: p.PatientSession, proof: bytes = b"") -> p.PatientState:
        """The same as an answer. Raises GuardRefused('not_authenticated')."""
        core, visitor = self._core, self.visitor(session)
        query = (
            sa.select(sa.func.count())
            .select_from(patient_passkey)
            .where(patient_passkey.c.patient_id == visitor.patient_id, patient_passkey.c.secret != b"")
        )
        with core.engine.connect() as connection:
            passkeys = int(connection.execute(query).scalar_one())
        return p.PatientState(visitor.expires_at, passkeys, core.hospital_name, proof)

    async def leave(self, request: p.LeavePatient) -> p.Noted:
        """End this session; its pages hear it."""
        core, visitor = self._core, self.visitor(request.session)

        def write(tx: Transaction) -> None:
            query = sa.select(patient_session).where(patient_session.c.id == visitor.session_id)
            row = core.rows.check(patient_session, tx.connection.execute(query).mappings().one())
            core.rows.update(tx.connection, patient_session, dict(row, ended=1))
            core.append(tx, PatientAccessChanged(visitor.evidence, visitor.patient_id, "left"))

        await core.committer.run(write)
        self._push(p.Told(visitor.session_id, "session-ended"))
        return p.Noted()

    def live_sessions(self, patients: set[bytes]) -> list[tuple[bytes, bytes]]:
        """`(session id, patient id)` of live sessions of these patients."""
        query = sa.select(patient_session.c.id, patient_session.c.patient_id).where(
            *_live(self._core.clock()), patient_session.c.patient_id.in_(patients)
        )
        with self._core.engine.connect() as connection:
            return [(bytes(row.id), bytes(row.patient_id)) for row in connection.execute(query)]


def birth_digest(key: bytes, identifier: bytes, birth_date: str) -> bytes:
    """What is kept of the birth date (DA) that an invitation waits for (`docs/formats.md` 6.4)."""
    return derive(key, "invitation/birth-date", identifier + birth_date.encode())


def _live(now: float) -> tuple[sa.ColumnElement[bool], ...]:
    return patient_session.c.ended == 0, patient_session.c.expires_at > now


def _token(written: str) -> bytes:
    """The token's bytes; b"" for what is none."""
    if _TOKEN.fullmatch(written) is None:
        return b""
    try:
        return base64.urlsafe_b64decode(written + "==")
    except binascii.Error:
        return b""


def _is_date(text: str) -> bool:
    """Whether it is a DA value (PS3.5 6.2) that exists."""
    if len(text) != len("YYYYMMDD") or not text.isascii() or not text.isdigit():
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True
