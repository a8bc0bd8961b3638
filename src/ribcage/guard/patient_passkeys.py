"""Passkeys of patients: the way in after the invitation. They are kept apart from those of persons.

Rules, in order:
1. A challenge is drawn as for persons (`guard.passkeys`); a person's passkey opens no patient's session, nor the
   other way round: each is looked for in its own table.
2. A passkey is registered inside a live session; it logs in with user verification alone.
3. The authenticator learns a number made for it and the hospital's name, nothing of the patient.
4. One whose count went back is refused, and the patient reads it. Failures are counted by address.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.derive import derive
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import patient_passkey
from ribcage.evidence.audit_event import Authentication, PatientAccessChanged, StrangerActor
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard import webauthn_wire as wire
from ribcage.guard.accounts import Throttle
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.factors import Passkey
from ribcage.guard.passkeys import Challenges
from ribcage.guard.patient_access import PatientAccess

_ID_BYTES = 16
_LABEL_CHARS = 64
_NAME = "my films 我的影像"


class PatientPasskeys:
    """Registers them, and lets in by them."""

    def __init__(self, core: Core, access: PatientAccess) -> None:
        limits = core.limits
        self._core = core
        self._access = access
        self._key = core.keyring.service("session")
        self._challenges = Challenges(limits.passkey_challenge_seconds)
        self._throttle = Throttle(limits.enter_attempts, limits.password_window_seconds)
        self._party = wire.RelyingParty(
            limits.web_name, limits.web_port, core.hospital_name, limits.passkey_challenge_seconds
        )

    # --- registration -----------------------------------------------------------------------------------

    async def begin(self, request: p.BeginPatientPasskey) -> p.PasskeyOptions:
        """Options to register. Raises GuardRefused('conflict') when there are too many."""
        visitor = self._access.visitor(request.session)
        held = self._of(visitor.patient_id)
        self._check_room(held)
        challenge = self._challenges.draw(visitor.session_id, "register", self._core.clock())
        handle = derive(self._key, "patient/passkey-user", visitor.patient_id)  # rule 3
        known = [passkey.credential for _, passkey in held]
        person = (handle, _NAME, _NAME)
        return p.PasskeyOptions(wire.registration_options(self._party, challenge, person, known))

    def _check_room(self, held: list[tuple[dict[str, Any], Passkey]]) -> None:
        if len(held) >= self._core.limits.patient_passkeys:
            raise GuardRefused("conflict")

    async def add(self, request: p.AddPatientPasskey) -> p.PasskeyItem:
        """Register a verified passkey. Raises GuardRefused('invalid' | 'conflict')."""
        core, now = self._core, self._core.clock()
        visitor, label = self._access.visitor(request.session), request.label.strip()
        if not 0 < len(label) <= _LABEL_CHARS or not label.isprintable():
            raise GuardRefused("invalid")
        try:
            challenge = self._challenges.newest(visitor.session_id, "register")
            self._challenges.take(challenge, visitor.session_id, "register", now)
            new = wire.verify_registration(self._party, challenge, request.credential)
        except wire.PasskeyRefused as refused:
            raise GuardRefused("invalid") from refused
        self._check_room(self._of(visitor.patient_id))
        if self._find(new.credential_id) is not None:
            raise GuardRefused("conflict")
        identifier = os.urandom(_ID_BYTES)
        kept = Passkey(new.credential_id, new.public_key, label, now, 0.0, new.user_verified)
        row = {
            "id": identifier,
            "patient_id": visitor.patient_id,
            "credential_token": self._token(new.credential_id),
            "secret": self._seal(identifier, kept),
            "last_counter": new.sign_count,
        }

        def write(tx: Transaction) -> None:
            core.rows.insert(tx.connection, patient_passkey, row)
            core.append(tx, PatientAccessChanged(visitor.evidence, visitor.patient_id, "passkey-added"))

        await core.committer.run(write)
        return _item(row, kept)

    async def page(self, request: p.ListPatientPasskeys) -> p.PasskeyItems:
        """The asker's passkeys, in order of registration."""
        held = self._of(self._access.visitor(request.session).patient_id)
        return p.PasskeyItems([_item(row, passkey) for row, passkey in held])

    async def remove(self, request: p.RemovePatientPasskey) -> p.Noted:
        """Remove one. Raises GuardRefused('not_found')."""
        core, visitor = self._core, self._access.visitor(request.session)
        rows = [row for row, _ in self._of(visitor.patient_id) if bytes(row["id"]) == request.id]
        if not rows:
            raise GuardRefused("not_found")

        def write(tx: Transaction) -> None:
            current = self._current(tx, request.id)
            core.rows.update(tx.connection, patient_passkey, dict(current, secret=b""))
            core.append(tx, PatientAccessChanged(visitor.evidence, visitor.patient_id, "passkey-removed"))

        await core.committer.run(write)
        return p.Noted()

    # --- log-in -----------------------------------------------------------------------------------------

    async def begin_log_in(self, request: p.BeginPatientLogIn) -> p.PasskeyOptions:
        """Options that name nobody."""
        challenge = self._challenges.draw(request.address, "log-in", self._core.clock())
        return p.PasskeyOptions(wire.assertion_options(self._party, challenge, (), identifies_user=True))

    async def log_in(self, request: p.PatientLogIn) -> p.PatientState:
        """A new session. Raises GuardRefused('not_authenticated' | 'throttled')."""
        core, now = self._core, self._core.clock()
        key = f"patient-passkey@{request.address}"
        self._throttle.check(key, now)
        patient_id = b""
        try:
            challenge, credential = wire.challenge_and_id(request.credential)
            self._challenges.take(challenge, request.address, "log-in", now)
            found = self._find(credential)
            if found is None:
                raise wire.PasskeyRefused
            patient_id = bytes(found[0]["patient_id"])
            assertion = wire.verify_assertion(
                self._party, challenge, request.credential, found[1].key, identifies_user=True
            )
            catalogue.patient_key(core, patient_id)
            proof = await core.committer.run(
                lambda tx: self._use(tx, found, assertion.sign_count, (request.address, request.client))
            )
        except GuardRefused as refused:
            raise await self._failed(key, request.address, patient_id) from refused
        self._throttle.succeeded(key)
        return self._access.state_of(p.PatientSession(proof, request.address, request.client), proof)

    def _use(
        self, tx: Transaction, found: tuple[dict[str, Any], Passkey], count: int, client: tuple[str, bytes]
    ) -> bytes:
        """The count only grows, unless the authenticator does not count (WebAuthn 7.2, step 22)."""
        core, (row, passkey) = self._core, found
        current = self._current(tx, bytes(row["id"]))
        before = int(current["last_counter"])
        if not current["secret"] or ((count or before) and count <= before):
            raise wire.PasskeyRefused
        used = msgspec.structs.replace(passkey, used_at=core.clock())
        secret = self._seal(bytes(row["id"]), used)
        core.rows.update(tx.connection, patient_passkey, dict(current, last_counter=count, secret=secret))
        return self._access.open_session(tx, bytes(row["patient_id"]), client, "passkey-used")

    async def _failed(self, key: str, address: str, patient_id: bytes) -> GuardRefused:
        core, stranger = self._core, StrangerActor(address)
        self._throttle.failed(key, core.clock())
        if patient_id:
            index = await core.note(PatientAccessChanged(stranger, patient_id, "passkey-refused"))
        else:
            index = await core.note(Authentication(stranger, "login", "passkey-refused", "passkey"))
        return GuardRefused("not_authenticated", index)

    # --- rows -------------------------------------------------------------------------------------------

    def _of(self, patient_id: bytes) -> list[tuple[dict[str, Any], Passkey]]:
        opened = self._opened(patient_passkey.c.patient_id == patient_id)
        return sorted(opened, key=lambda each: each[1].created_at)

    def _find(self, credential: bytes) -> tuple[dict[str, Any], Passkey] | None:
        rows = self._opened(patient_passkey.c.credential_token == self._token(credential))
        return next((each for each in rows if each[1].credential == credential), None)

    def _opened(self, where: sa.ColumnElement[bool]) -> list[tuple[dict[str, Any], Passkey]]:
        """Rows that hold and were not removed; one that does not open is absent."""
        query = sa.select(patient_passkey).where(where, patient_passkey.c.secret != b"")
        with self._core.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        found = []
        for row in rows:
            context = column_context("patient_passkey", "secret", bytes(row["id"]))
            try:
                checked = self._core.rows.check(patient_passkey, row)
                secret = open_column(self._key, context, bytes(row["secret"]))
                found.append((checked, msgspec.json.decode(secret, type=Passkey)))
            except (CryptoError, msgspec.DecodeError):
                continue
        return found

    def _current(self, tx: Transaction, identifier: bytes) -> dict[str, Any]:
        query = sa.select(patient_passkey).where(patient_passkey.c.id == identifier)
        row = tx.connection.execute(query).mappings().one()
        return self._core.rows.check(patient_passkey, row)

    def _seal(self, identifier: bytes, passkey: Passkey) -> bytes:
        context = column_context("patient_passkey", "secret", identifier)
        return seal_column(self._key, context, msgspec.json.encode(passkey))

    def _token(self, credential: bytes) -> bytes:
        return self._core.blind.exact("patient-credential", credential)


def _item(row: dict[str, Any], kept: Passkey) -> p.PasskeyItem:
    return p.PasskeyItem(bytes(row["id"]), kept.label, kept.created_at, kept.used_at, kept.user_verified)
