"""Patients and studies as the guard finds and makes them: internal identity, one key for each study.

Rules, in order:
1. (Patient ID, issuer) maps by keyed token to one internal patient; an empty or placeholder ID gets one identity
   for each study (DESIGN, patient identity).
2. One study has one key. The study key's wrap is bound to (hospital, patient, study): a row that points a study at
   another patient does not open.
3. Identifying attributes are sealed under the patient's key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from ribcage.crypto import wraps
from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import name_token, patient, study
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import Attributes

PLACEHOLDER_IDS = frozenset(
    {
        "",
        "0",
        "00",
        "000",
        "0000",
        "1",
        "UNKNOWN",
        "UNK",
        "NONE",
        "NOID",
        "NO ID",
        "ANONYMOUS",
        "ANON",
        "NA",
        "N/A",
        "TEST",
    }
)
_ID_BYTES = 16


class StudyFacts(msgspec.Struct, frozen=True):
    """The sealed part of a study row."""

    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    accession_number: str
    study_id: str
    study_description: str
    referring_physician_name: str


@dataclass(frozen=True)
class HeldStudy:
    """A study with its keys, as the guard's memory has it. `token` None: placeholder identity."""

    pk: int
    uid: str
    patient_id: bytes
    patient_key: bytes
    key_id: bytes
    key: bytes
    token: bytes | None
    department: str


def patient_token(core: Core, attributes: Attributes) -> bytes | None:
    """The keyed token of (Patient ID, issuer), or None for a placeholder."""
    identifier = attributes.patient_id.strip()
    if identifier.upper() in PLACEHOLDER_IDS:
        return None
    issuer = attributes.issuer_of_patient_id.strip()
    return core.blind.exact("patient", f"{len(identifier)}:{identifier}{issuer}")


def patient_context(core: Core, patient_id: bytes) -> bytes:
    """Context of a patient key's wrap."""
    return wraps.context(core.hospital, b"patient", patient_id)


def study_context(core: Core, patient_id: bytes, uid: str) -> bytes:
    """Context of a study key's wrap; the UID stands in it as a keyed token, since the key store is not encrypted."""
    return wraps.context(core.hospital, b"study", patient_id, core.blind.exact("study", uid))


def parked_context(core: Core, object_id: bytes) -> bytes:
    """Context of the key that a parked object has for itself."""
    return wraps.context(core.hospital, b"parked", object_id)


def hold(core: Core, connection: sa.Connection, uid: str) -> HeldStudy | None:
    """The study with its keys, or None. Raises GuardRefused('unavailable') for rows or keys that do not hold."""
    joined = sa.select(study, patient.c.key_id.label("patient_key_id"), patient.c.id_token).join(
        patient, patient.c.id == study.c.patient_id
    )
    row = connection.execute(joined.where(study.c.uid == uid)).mappings().one_or_none()
    return None if row is None else open_row(core, row)


def open_row(core: Core, row: sa.RowMapping) -> HeldStudy:
    """Keys for a joined study row. Raises GuardRefused('unavailable') when the row or a wrap does not hold."""
    checked = {column.name: row[column.name] for column in study.columns}
    try:
        core.rows.check(study, checked)  # type: ignore[arg-type]  # a dict serves as a mapping
        patient_key = core.keyring.key(
            bytes(row["patient_key_id"]), "patient", patient_context(core, bytes(row["patient_id"]))
        )
        key = core.keyring.key(
            bytes(row["key_id"]), "study", study_context(core, bytes(row["patient_id"]), str(row["uid"]))
        )
    except CryptoError as failure:
        core.findings.append(f"study row {row['pk']}: {type(failure).__name__}")
        raise GuardRefused("unavailable") from failure
    return HeldStudy(
        pk=int(row["pk"]),
        uid=str(row["uid"]),
        patient_id=bytes(row["patient_id"]),
        patient_key=patient_key,
        key_id=bytes(row["key_id"]),
        key=key,
        token=bytes(row["id_token"]) if row["id_token"] is not None else None,
        department=str(row["department"]),
    )


def find_or_make_patient(core: Core, tx: Transaction, token: bytes | None) -> tuple[bytes, bytes]:
    """`(patient id, patient key)`, made now if the token is new."""
    if token is not None:
        query = sa.select(patient).where(patient.c.id_token == token)
        row = tx.connection.execute(query).mappings().one_or_none()
        if row is not None:
            core.rows.check(patient, row)
            identifier = bytes(row["id"])
            return identifier, core.keyring.key(
                bytes(row["key_id"]), "patient", patient_context(core, identifier)
            )
    identifier = os.urandom(_ID_BYTES)
    key_id, key = core.keyring.new_key("patient", patient_context(core, identifier))
    core.rows.insert(tx.connection, patient, {"id": identifier, "key_id": key_id, "id_token": token})
    return identifier, key


def make_study(core: Core, tx: Transaction, attributes: Attributes, department: str) -> HeldStudy:
    """Create patient (if new), study key, study row and its name tokens."""
    token = patient_token(core, attributes)
    patient_id, patient_key = find_or_make_patient(core, tx, token)
    uid = attributes.study_instance_uid
    key_id, key = core.keyring.new_key("study", study_context(core, patient_id, uid))
    facts = StudyFacts(**{name: getattr(attributes, name) for name in StudyFacts.__struct_fields__})
    accession, identifier = attributes.accession_number.strip(), attributes.patient_id.strip()
    values = {
        "uid": uid,
        "patient_id": patient_id,
        "key_id": key_id,
        "department": department,
        "study_date": attributes.study_date,
        "study_time": attributes.study_time,
        "accession_token": core.blind.exact("accession", accession) if accession else None,
        "patient_id_token": core.blind.exact("patient-id", identifier) if identifier else None,
        "sealed": seal_column(
            patient_key, column_context("study", "sealed", uid), msgspec.json.encode(facts)
        ),
        "created_at": core.clock(),
    }
    core.rows.insert(tx.connection, study, values)
    pk = int(tx.connection.execute(sa.select(study.c.pk).where(study.c.uid == uid)).scalar_one())
    tokens = [{"token": t, "study_pk": pk} for t in core.blind.name_tokens(attributes.patient_name)]
    if tokens:
        tx.connection.execute(sa.insert(name_token), tokens)
    return HeldStudy(pk, uid, patient_id, patient_key, key_id, key, token, department)


def facts_of(held: HeldStudy, sealed: bytes) -> StudyFacts:
    """The study's sealed attributes. Raises CryptoError when moved or changed."""
    return open_facts(held.patient_key, held.uid, sealed)


def open_facts(patient_key: bytes, uid: str, sealed: bytes) -> StudyFacts:
    """The same with the patient's key alone."""
    plain = open_column(patient_key, column_context("study", "sealed", uid), sealed)
    return msgspec.json.decode(plain, type=StudyFacts)


def written_token(core: Core, written: str) -> bytes | None:
    """The keyed token of 'ID' or 'ID|ISSUER', None for a placeholder."""
    identifier, _, issuer = written.partition("|")
    attributes = Attributes("", "", "", "", patient_id=identifier, issuer_of_patient_id=issuer)
    return patient_token(core, attributes)


def find_patient(core: Core, written: str) -> tuple[bytes, bytes]:
    """`(internal id, key)` of 'ID' or 'ID|ISSUER'. Raises GuardRefused('not_found')."""
    token = written_token(core, written)
    if token is None:
        raise GuardRefused("not_found")  # a placeholder names nobody
    with core.engine.connect() as connection:
        query = sa.select(patient).where(patient.c.id_token == token)
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise GuardRefused("not_found")
    return bytes(row["id"]), _patient_key(core, row)


def patient_key(core: Core, patient_id: bytes) -> bytes:
    """The key of a patient by internal id. Raises GuardRefused('not_found') for one who is gone."""
    with core.engine.connect() as connection:
        query = sa.select(patient).where(patient.c.id == patient_id)
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise GuardRefused("not_found")
    return _patient_key(core, row)


def _patient_key(core: Core, row: sa.RowMapping) -> bytes:
    core.rows.check(patient, row)
    return core.keyring.key(bytes(row["key_id"]), "patient", patient_context(core, bytes(row["id"])))
