"""Patients and studies as the guard finds and makes them: internal identity, one key for each study.

Rules, in order:
1. (Patient ID, issuer) maps by keyed token to one internal patient; an empty or placeholder ID gets one identity
   for each study (DESIGN, patient identity).
2. One study has one key. The study key's wrap is bound to (hospital, patient, study): a row that points a study at
   another patient does not open.
3. Identifying attributes are sealed under the patient's key.
4. A merged patient is the one it was merged into (`guard.identities`); a study's identity is its top layer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto import wraps
from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.prepared import Prepared
from ribcage.database.schema import name_token, patient, study, study_identity
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.identities import Layer, Layers, Named, open_layers, seal_layers
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
_TOKEN = patient.c.id_token == sa.bindparam("token")
_KNOWN = Prepared(sa.select(sa.exists().where(_TOKEN)))
_ADD_TOKEN = Prepared(sa.insert(name_token), ["token", "study_pk"])

# What `open_row` opens: a study with its patient.
JOINED = sa.select(study, patient.c.key_id.label("patient_key_id"), patient.c.id_token).join(
    patient, patient.c.id == study.c.patient_id
)


class SeriesFacts(msgspec.Struct, frozen=True):
    """The sealed part of a series row."""

    series_number: str
    series_description: str
    body_part_examined: str


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
    layers: tuple[Layer, ...] = ()  # oldest first; none where nothing ever changed

    @property
    def named(self) -> Named | None:
        """How the patient is named since the study's identity was changed; None: as the instances say."""
        return self.layers[-1].named if len(self.layers) > 1 else None


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
    row = connection.execute(JOINED.where(study.c.uid == uid)).mappings().one_or_none()
    return None if row is None else open_row(core, row)


def open_row(core: Core, row: sa.RowMapping) -> HeldStudy:
    """Keys for a joined study row. Raises GuardRefused('unavailable') when the row or a wrap does not hold."""
    checked = {column.name: row[column.name] for column in study.columns}
    if core.identities.is_shut(bytes(row["key_id"]), bytes(row["patient_id"])):
        raise GuardRefused("unavailable")
    try:
        core.rows.check(study, checked)  # type: ignore[arg-type]  # a dict serves as a mapping
        patient_key = core.keyring.key(
            bytes(row["patient_key_id"]), "patient", patient_context(core, bytes(row["patient_id"]))
        )
        key = core.keyring.key(
            bytes(row["key_id"]), "study", study_context(core, bytes(row["patient_id"]), str(row["uid"]))
        )
        layers = _layers(core, bytes(row["key_id"]), key)
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
        layers=tuple(layers),
    )


def _layers(core: Core, key_id: bytes, key: bytes) -> Layers:
    changed = core.identities.row(key_id)
    return [] if changed is None else open_layers(key, key_id, bytes(changed["sealed"]))


def may_carry(core: Core, held: HeldStudy, attributes: Attributes) -> bool:
    """Whether an instance that names this patient belongs to the study: as its first ones say, or as corrected."""
    sent = patient_token(core, attributes)
    if not held.layers:
        return sent == held.token
    named = (held.layers[0].named, held.layers[-1].named)
    return any(sent == token_of(core, each) for each in named)


def token_of(core: Core, named: Named) -> bytes | None:
    """The keyed token of a named patient, None for a placeholder."""
    given = Attributes("", "", "", "", named.patient_id, named.issuer_of_patient_id)
    return patient_token(core, given)


@dataclass(frozen=True)
class HeldPatient:
    """A patient with the key."""

    patient_id: bytes
    key_id: bytes
    key: bytes


def find_or_make_patient(core: Core, connection: sa.Connection, token: bytes | None) -> HeldPatient:
    """The patient of this token itself, merged or not; made now if the token is new."""
    if token is not None and _is_known(connection, token):
        query = sa.select(patient).where(patient.c.id_token == token)
        return _held_patient(core, connection.execute(query).mappings().one())
    identifier = os.urandom(_ID_BYTES)
    key_id, key = core.keyring.new_key("patient", patient_context(core, identifier))
    core.rows.add(connection, patient, {"id": identifier, "key_id": key_id, "id_token": token})
    return HeldPatient(identifier, key_id, key)


def _is_known(connection: sa.Connection, token: bytes) -> bool:
    row = _KNOWN.one(connection, {"token": token})
    return row is not None and bool(row[0])


def patient_by_id(core: Core, connection: sa.Connection, patient_id: bytes) -> HeldPatient:
    """A patient by internal id, merged or not. Raises GuardRefused('not_found')."""
    query = sa.select(patient).where(patient.c.id == patient_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise GuardRefused("not_found")
    return _held_patient(core, row)


def now_patient(core: Core, connection: sa.Connection, held: HeldPatient) -> HeldPatient:
    """Whom this patient was merged into, or the patient."""
    now = core.identities.into(held.patient_id)
    return held if now == held.patient_id else patient_by_id(core, connection, now)


def _held_patient(core: Core, row: sa.RowMapping) -> HeldPatient:
    return HeldPatient(bytes(row["id"]), bytes(row["key_id"]), _patient_key(core, row))


def named_in(facts: StudyFacts) -> Named:
    """The patient as a study's facts have it."""
    return Named(*(getattr(facts, name) for name in Named.__struct_fields__))


def newest_names(core: Core, connection: sa.Connection, whose: HeldPatient) -> Named:
    """The patient as the newest study has it. Raises GuardRefused('not_found')."""
    query = (
        sa.select(study.c.uid, study.c.sealed)
        .where(study.c.patient_id == whose.patient_id)
        .order_by(study.c.study_date.desc(), study.c.pk.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise GuardRefused("not_found")
    return named_in(open_facts(whose.key, str(row.uid), bytes(row.sealed)))


def _layers_of_new(
    core: Core, tx: Transaction, sent: HeldPatient, own: HeldPatient, facts: StudyFacts
) -> Layers:
    """A new study of a merged patient is the other's, and goes back when the merge is undone."""
    link, now = core.identities.link(sent.patient_id), core.clock()
    if link is None:
        return []
    layers = [Layer(0, sent.patient_id, sent.key_id, named_in(facts), True, now)]
    while link is not None:
        below = patient_by_id(core, tx.connection, bytes(link["into_id"]))
        try:
            named = newest_names(core, tx.connection, own)
        except GuardRefused:
            named = named_in(facts)  # all its studies were moved away
        layers.append(Layer(int(link["change"]), below.patient_id, below.key_id, named, True, now))
        link = core.identities.link(below.patient_id)
    return layers


def search_columns(core: Core, named: Named) -> dict[str, bytes | None]:
    """What the study row says of the patient in tokens."""
    identifier = named.patient_id.strip()
    return {"patient_id_token": core.blind.exact("patient-id", identifier) if identifier else None}


def write_name_tokens(core: Core, connection: sa.Connection, pk: int, named: Named) -> None:
    """The study is found by this name and no other."""
    connection.execute(sa.delete(name_token).where(name_token.c.study_pk == pk))
    _add_name_tokens(core, connection, pk, named)


def _add_name_tokens(core: Core, connection: sa.Connection, pk: int, named: Named) -> None:
    tokens = core.blind.name_tokens(named.patient_name)
    _ADD_TOKEN.write_all(connection, [{"token": token, "study_pk": pk} for token in tokens])


def seal_facts(patient_key: bytes, uid: str, facts: StudyFacts) -> bytes:
    """The sealed part of a study row."""
    return seal_column(patient_key, column_context("study", "sealed", uid), msgspec.json.encode(facts))


def seal_series(patient_key: bytes, uid: str, facts: SeriesFacts) -> bytes:
    """The sealed part of a series row."""
    return seal_column(patient_key, column_context("series", "sealed", uid), msgspec.json.encode(facts))


def open_series(patient_key: bytes, uid: str, sealed: bytes) -> SeriesFacts:
    """The opposite. Raises CryptoError when moved or changed."""
    plain = open_column(patient_key, column_context("series", "sealed", uid), sealed)
    return msgspec.json.decode(plain, type=SeriesFacts)


def make_study(core: Core, tx: Transaction, attributes: Attributes, department: str) -> HeldStudy:
    """Create patient (if new), study key, study row and its name tokens."""
    token = patient_token(core, attributes)
    sent = find_or_make_patient(core, tx.connection, token)
    own = now_patient(core, tx.connection, sent)
    uid, patient_id, patient_key = attributes.study_instance_uid, own.patient_id, own.key
    key_id, key = core.keyring.new_key("study", study_context(core, patient_id, uid))
    facts = StudyFacts(**{name: getattr(attributes, name) for name in StudyFacts.__struct_fields__})
    layers = _layers_of_new(core, tx, sent, own, facts)
    if layers:
        facts = msgspec.structs.replace(facts, **msgspec.structs.asdict(layers[-1].named))
        core.identities.take([write_layers(core, tx.connection, key_id, key, layers)])
    accession = attributes.accession_number.strip()
    values = {
        "uid": uid,
        "patient_id": patient_id,
        "key_id": key_id,
        "department": department,
        "study_date": attributes.study_date,
        "study_time": attributes.study_time,
        "accession_token": core.blind.exact("accession", accession) if accession else None,
        **search_columns(core, named_in(facts)),
        "sealed": seal_facts(patient_key, uid, facts),
        "created_at": core.clock(),
    }
    pk = core.rows.add(tx.connection, study, values)
    _add_name_tokens(core, tx.connection, pk, named_in(facts))
    return HeldStudy(pk, uid, patient_id, patient_key, key_id, key, token, department, tuple(layers))


def write_layers(
    core: Core, connection: sa.Connection, key_id: bytes, key: bytes, layers: Layers
) -> dict[str, Any]:
    """The study's new row of `study_identity`, for the memory to take."""
    values = {
        "id": key_id,
        "patient_id": layers[-1].patient,
        "changes": " ".join(str(layer.change) for layer in layers[1:]),
        "sealed": seal_layers(key, key_id, layers),
    }
    held = core.identities.row(key_id)
    if held is None:
        return core.rows.insert(connection, study_identity, values)
    return core.rows.update(connection, study_identity, dict(held, **values))


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
    """`(internal id, key)` of 'ID' or 'ID|ISSUER', of whom it was merged into. Raises GuardRefused('not_found')."""
    token = written_token(core, written)
    if token is None:
        raise GuardRefused("not_found")  # a placeholder names nobody
    with core.engine.connect() as connection:
        query = sa.select(patient).where(patient.c.id_token == token)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise GuardRefused("not_found")
        held = now_patient(core, connection, _held_patient(core, row))
    return held.patient_id, held.key


def patient_key(core: Core, patient_id: bytes) -> bytes:
    """The key of a patient by internal id. Raises GuardRefused('not_found') for one who is gone, or merged now."""
    if core.identities.link(patient_id) is not None:
        raise GuardRefused("not_found")
    with core.engine.connect() as connection:
        return patient_by_id(core, connection, patient_id).key


def _patient_key(core: Core, row: sa.RowMapping) -> bytes:
    core.rows.check(patient, row)
    return core.keyring.key(bytes(row["key_id"]), "patient", patient_context(core, bytes(row["id"])))
