"""The tables. What stays clear inside the encrypted file is listed here, column by column.

Clear: UIDs, dates and times of study, modality, SOP class, transfer syntax, sizes, hashes, staff user names,
addresses of staff sessions.
Sealed under the patient's key: everything that names the patient or the people around the study.
Keyed tokens: Patient ID with issuer, accession number (exact), names (bigrams of 32 bits).
`mac` and `version`: rows that decide access; the guard refuses a row whose MAC does not hold.
"""

from __future__ import annotations

import sqlalchemy as sa

from ribcage.database.metadata import metadata as metadata
from ribcage.database.metadata import row_mac as _row_mac

FORMAT_VERSION = 1

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

person = sa.Table(
    "person",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("username", sa.Text, nullable=False, unique=True),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),  # space separated, sorted
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),  # Argon2id, PHC string
    sa.Column("suspended", sa.Integer, nullable=False),
    *_row_mac(),
)

factor = sa.Table(
    "factor",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("person_id", sa.LargeBinary(16), sa.ForeignKey("person.id"), nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),  # totp, passkey, recovery, reset-asked, reset, removed
    sa.Column("secret", sa.LargeBinary, nullable=False),  # sealed column
    sa.Column(
        "last_counter", sa.Integer, nullable=False
    ),  # RFC 6238 step, sign count, bits of used codes, or wrong tries
    *_row_mac(),
)

session = sa.Table(
    "session",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("person_id", sa.LargeBinary(16), sa.ForeignKey("person.id"), nullable=False, index=True),
    sa.Column("secret_sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("issued_sha256", sa.LargeBinary, nullable=False),  # the next secret, not seen yet; empty: none
    sa.Column("issued_at", sa.Float, nullable=False),  # of the newest secret
    sa.Column("superseded", sa.LargeBinary, nullable=False),  # `guard.session_secrets`
    sa.Column("client", sa.LargeBinary(32), nullable=False),  # keyed digest of address and browser
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("used_at", sa.Float, nullable=False),  # at least that late
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("second_factor_at", sa.Float, nullable=False),  # 0: never
    sa.Column("second_factor", sa.Text, nullable=False),  # totp, passkey, recovery; empty: none
    sa.Column("ended", sa.Integer, nullable=False),
    *_row_mac(),
)

device = sa.Table(
    "device",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("fingerprint", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("certificate_pem", sa.LargeBinary, nullable=False),
    sa.Column("foreign_authority", sa.Integer, nullable=False),
    sa.Column("not_after", sa.Float, nullable=False),
    sa.Column("ae_titles", sa.Text, nullable=False),  # backslash separated: not a legal AE character
    sa.Column("may", sa.Text, nullable=False),  # space separated, sorted
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("suspended", sa.Integer, nullable=False),
    *_row_mac(),
)

destination = sa.Table(
    "destination",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("ae_title", sa.Text, nullable=False, unique=True),
    sa.Column("device_id", sa.LargeBinary(16), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("removed", sa.Integer, nullable=False),
    *_row_mac(),
)

send_job = sa.Table(
    "send_job",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("destination", sa.Text, nullable=False),  # AE title
    sa.Column("study_uid", sa.Text, nullable=False),  # "": what a full queue did not take
    sa.Column("why", sa.Text, nullable=False),  # move, rule, operator, prior
    sa.Column("state", sa.Text, nullable=False),  # waiting, sending, done, failed
    sa.Column("refusal", sa.Text, nullable=False),  # closed list of `guard.protocol`
    sa.Column("tries", sa.Integer, nullable=False),  # since an instance arrived
    sa.Column("progress", sa.Integer, nullable=False),  # instances that arrived under this lease
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("sent", sa.Integer, nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float, nullable=False),  # 0: not yet
    sa.Column("lease", sa.LargeBinary(16), nullable=False),  # empty: nobody sends it
    sa.Column("lease_until", sa.Float, nullable=False),
    sa.Column("asker", sa.LargeBinary(32), nullable=False),  # certificate of a C-MOVE's asker; else empty
    sa.Column("asker_title", sa.Text, nullable=False),
    sa.Column("asker_address", sa.Text, nullable=False),
    sa.Index("ix_send_job_state", "state", "next_at"),
    sa.Index("ix_send_job_study_uid", "study_uid", "destination"),
)

send_item = sa.Table(
    "send_item",
    metadata,
    sa.Column("job", sa.Integer, sa.ForeignKey("send_job.number"), primary_key=True),
    sa.Column("uid", sa.Text, primary_key=True),
    sa.Column("sent", sa.Integer, nullable=False),  # 1: the destination acknowledged it
    sa.Column("status", sa.Integer, nullable=False),  # its last C-STORE status; -1: none
    sqlite_with_rowid=False,
)

route_rule = sa.Table(
    "route_rule",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("destination", sa.Text, nullable=False),  # AE title
    sa.Column(
        "conditions", sa.Text, nullable=False
    ),  # JSON of `guard.protocol.RouteConditions`, and `priors` beside them
    sa.Column("removed", sa.Integer, nullable=False),
    *_row_mac(),
)

destination_retry = sa.Table(
    "destination_retry",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # of the destination
    sa.Column("moves", sa.Integer, nullable=False),  # 1: what a C-MOVE failed to send is queued
    *_row_mac(),
)

patient = sa.Table(
    "patient",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("key_id", sa.LargeBinary(16), nullable=False, unique=True),
    sa.Column("id_token", sa.LargeBinary(32), unique=True),  # NULL: placeholder, one identity per study
    *_row_mac(),
)

study = sa.Table(
    "study",
    metadata,
    sa.Column("pk", sa.Integer, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("patient_id", sa.LargeBinary(16), sa.ForeignKey("patient.id"), nullable=False, index=True),
    sa.Column("key_id", sa.LargeBinary(16), nullable=False, unique=True),
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("study_date", sa.Text, nullable=False, index=True),
    sa.Column("study_time", sa.Text, nullable=False),
    sa.Column("accession_token", sa.LargeBinary(32), index=True),
    sa.Column("patient_id_token", sa.LargeBinary(32), index=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # identifying attributes, JSON
    sa.Column("created_at", sa.Float, nullable=False),
    *_row_mac(),
)

name_token = sa.Table(
    "name_token",
    metadata,
    sa.Column("token", sa.Integer, primary_key=True),
    sa.Column("study_pk", sa.Integer, sa.ForeignKey("study.pk"), primary_key=True),
    sqlite_with_rowid=False,
)

series = sa.Table(
    "series",
    metadata,
    sa.Column("pk", sa.Integer, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("study_pk", sa.Integer, sa.ForeignKey("study.pk"), nullable=False, index=True),
    sa.Column("modality", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)

_OBJECT_COLUMNS = (
    ("object_id", sa.LargeBinary(16)),
    ("key_id", sa.LargeBinary(16)),
    ("epoch", sa.Integer),
    ("algorithm", sa.Integer),
    ("location", sa.Text),
    ("file_bytes", sa.Integer),
    ("header_plain_bytes", sa.Integer),
    ("bulk_plain_bytes", sa.Integer),
    ("prefix_bytes", sa.Integer),
    ("header_sealed_bytes", sa.Integer),
    ("bulk_sealed_bytes", sa.Integer),
    ("data_set_sha256", sa.LargeBinary(32)),
    ("file_sha256", sa.LargeBinary(32)),
    ("transfer_syntax_uid", sa.Text),
    ("received_at", sa.Float),
    ("source", sa.Text),  # "device:<id hex>", "person:<id hex>" or "operator"
    ("log_index", sa.Integer),
)


def _object_columns() -> list[sa.Column[object]]:
    return [
        sa.Column(name, kind, nullable=False, unique=name == "object_id") for name, kind in _OBJECT_COLUMNS
    ]


instance = sa.Table(
    "instance",
    metadata,
    sa.Column("pk", sa.Integer, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("series_pk", sa.Integer, sa.ForeignKey("series.pk"), nullable=False, index=True),
    sa.Column("study_pk", sa.Integer, sa.ForeignKey("study.pk"), nullable=False, index=True),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    sa.Column("instance_number", sa.Text, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("columns", sa.Integer, nullable=False),
    sa.Column("bits_allocated", sa.Integer, nullable=False),
    sa.Column("number_of_frames", sa.Integer, nullable=False),
    *_object_columns(),
)

parked = sa.Table(
    "parked",
    metadata,
    sa.Column("pk", sa.Integer, primary_key=True),
    sa.Column(
        "reason", sa.Text, nullable=False
    ),  # closed list: patient_mismatch, hash_mismatch, series_mismatch, study_closed, study_destroyed, filed
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # all attributes, under the parked key
    sa.Column("key_context", sa.LargeBinary, nullable=False),
    *_object_columns(),
    sa.Index("ix_parked_data_set_sha256", "data_set_sha256"),
)

log_leaf = sa.Table(
    "log_leaf",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("leaf_data", sa.LargeBinary(32), nullable=False),  # SHA-256 of salt and body
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # salt and body
)

log_tile = sa.Table(
    "log_tile",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("hashes", sa.LargeBinary, nullable=False),  # 256 hashes, C2SP tlog-tiles
)

checkpoint = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("size", sa.Integer, primary_key=True),
    sa.Column("note", sa.LargeBinary, nullable=False),
)

ledger_transaction = sa.Table(
    "ledger_transaction",
    metadata,
    sa.Column("height", sa.Integer, primary_key=True),
    sa.Column("block_time", sa.Integer, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
)

grant_note = sa.Table(
    "grant_note",
    metadata,
    sa.Column("grant_id", sa.Integer, primary_key=True),
    sa.Column(
        "sealed", sa.LargeBinary, nullable=False
    ),  # subject and resource as the administrator wrote them
)

destruction = sa.Table(
    "destruction",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("state", sa.Text, nullable=False),  # asked, approved, executing, done, cancelled
    sa.Column("reason", sa.Text, nullable=False),  # closed list of `guard.destruction`
    sa.Column("study_uid", sa.Text, nullable=False),  # "" once it is done: the token is enough
    sa.Column("study_token", sa.LargeBinary(32), nullable=False, index=True),
    sa.Column("study_key_id", sa.LargeBinary(16), nullable=False),
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False),
    sa.Column("resource", sa.LargeBinary(32), nullable=False),  # the study on the ledger
    sa.Column("asked_by", sa.LargeBinary(16), nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("approved_by", sa.LargeBinary(16)),
    sa.Column("approved_at", sa.Float, nullable=False),  # 0: not yet
    sa.Column("due_at", sa.Float, nullable=False),  # 0: not approved
    sa.Column("ended_by", sa.LargeBinary(16)),  # who cancelled
    sa.Column("ended_at", sa.Float, nullable=False),  # cancelled or done; 0: neither
    sa.Column("certificate", sa.LargeBinary),  # signed note, once it is done
    sa.Column("log_index", sa.Integer, nullable=False),  # of its StudyDestroyed entry; -1 before
    *_row_mac(),
)

break_glass = sa.Table(
    "break_glass",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),  # on the ledger
    sa.Column("person_id", sa.LargeBinary(16), nullable=False),
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False),
    sa.Column("study_key_id", sa.LargeBinary(16)),  # NULL: the whole patient
    sa.Column("resource", sa.LargeBinary(32), nullable=False),  # study or patient on the ledger
    sa.Column("reason", sa.Text, nullable=False),  # closed list of `guard.protocol`
    sa.Column("note", sa.LargeBinary),  # sealed under the patient's key
    sa.Column("occurred_at", sa.Float, nullable=False),
    sa.Column("valid_until", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float, nullable=False),  # ended early; 0: not
    sa.Column("emergency", sa.Integer, nullable=False),  # 1: decided while log or ledger could not answer
    sa.Column("verdict", sa.Text, nullable=False),  # "", justified, unjustified
    sa.Column("reviewed_by", sa.LargeBinary(16)),
    sa.Column("reviewed_at", sa.Float, nullable=False),
    *_row_mac(),
)

glass_comment = sa.Table(
    "glass_comment",
    metadata,
    sa.Column("break_glass_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # what the reviewer wrote, under the patient's key
)

emergency_mark = sa.Table(
    "emergency_mark",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("submitted", sa.Integer, nullable=False),  # records of the emergency journal that the log has
    *_row_mac(),
)

patient_entry = sa.Table(
    "patient_entry",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),  # of the log's entry
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # closed list of `guard.patient_entries`
    sa.Column("disclosure", sa.LargeBinary(16), index=True),
    sa.Index("ix_patient_entry_patient_id", "patient_id", "number"),
)

invitation = sa.Table(
    "invitation",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("token_sha256", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("birth_digest", sa.LargeBinary(32), nullable=False),  # keyed
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),  # wrong birth dates
    sa.Column("state", sa.Text, nullable=False),  # open, used, dead
    *_row_mac(),
)

patient_session = sa.Table(
    "patient_session",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("secret_sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("client", sa.LargeBinary(32), nullable=False),  # SHA-256 of what the browser calls itself
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False, index=True),
    sa.Column("ended", sa.Integer, nullable=False),
    *_row_mac(),
)

patient_passkey = sa.Table(
    "patient_passkey",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("credential_token", sa.LargeBinary(32), nullable=False, index=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # sealed column; empty: removed
    sa.Column("last_counter", sa.Integer, nullable=False),
    *_row_mac(),
)

identity_change = sa.Table(
    "identity_change",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),  # merge, move, split, correct, undo
    sa.Column("state", sa.Text, nullable=False),  # asked, executing, done, undone, cancelled
    sa.Column("undoes", sa.Integer, nullable=False),  # number of another change; 0: none
    sa.Column("studies", sa.Integer, nullable=False),  # how many changed
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # what was asked; empty once it ended
    sa.Column("asked_by", sa.LargeBinary(16), nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("approved_by", sa.LargeBinary(16)),
    sa.Column("ended_at", sa.Float, nullable=False),  # 0: not yet
    *_row_mac(),
)

study_identity = sa.Table(
    "study_identity",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # key id of the study
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False),
    sa.Column("changes", sa.Text, nullable=False),  # their numbers, oldest first, space separated
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # layers, under the study's key
    *_row_mac(),
)

filed = sa.Table(
    "filed",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # object id of an instance that was a conflict
    sa.Column("study_key_id", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("data_set_sha256", sa.LargeBinary(32), nullable=False, index=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # what it says of itself, under the study's key
    *_row_mac(),
)

rejection = sa.Table(
    "rejection",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # object id of the note
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("study_key_id", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("code", sa.Text, nullable=False),  # of DCM: 113001, 113037, 113038, 113039
    sa.Column("state", sa.Text, nullable=False),  # standing, undone
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("undone_by", sa.LargeBinary(16)),
    *_row_mac(),
)

rejected = sa.Table(
    "rejected",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # object id of what is hidden
    sa.Column("note_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("study_key_id", sa.LargeBinary(16), nullable=False, index=True),
    *_row_mac(),
)

device_renewal = sa.Table(
    "device_renewal", metadata, sa.Column("id", sa.LargeBinary(16), primary_key=True),  # of the device
    sa.Column("fingerprint", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("certificate_pem", sa.LargeBinary, nullable=False),
    *(sa.Column(name, sa.Float, nullable=False) for name in ("not_after", "issued_at", "old_until")),
    *_row_mac(),
)  # fmt: skip

device_charset = sa.Table(
    "device_charset",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # of the device
    sa.Column("charset", sa.Text, nullable=False),  # a value of (0008,0005); empty: none
    sa.Column("overrides", sa.Integer, nullable=False),
    *_row_mac(),
)

patient_link = sa.Table(
    "patient_link",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # the patient that was merged
    sa.Column("key_id", sa.LargeBinary(16), nullable=False),  # its key's
    sa.Column("into_id", sa.LargeBinary(16), nullable=False),
    sa.Column("change", sa.Integer, nullable=False),
    sa.Column("standing", sa.Integer, nullable=False),
    *_row_mac(),
)
