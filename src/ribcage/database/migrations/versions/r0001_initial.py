"""The first schema, frozen as statements so that later changes of `schema` cannot alter it."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE checkpoint ( size INTEGER NOT NULL, note BLOB NOT NULL, PRIMARY KEY (size) )",
    "CREATE TABLE device ( id BLOB NOT NULL, name TEXT NOT NULL, fingerprint BLOB NOT NULL, certificate_pem BLOB NOT NULL, foreign_authority INTEGER NOT NULL, not_after FLOAT NOT NULL, ae_titles TEXT NOT NULL, may TEXT NOT NULL, department TEXT NOT NULL, suspended INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (name), UNIQUE (fingerprint) )",
    "CREATE TABLE grant_note ( grant_id INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (grant_id) )",
    "CREATE TABLE ledger_transaction ( height INTEGER NOT NULL, block_time INTEGER NOT NULL, raw BLOB NOT NULL, PRIMARY KEY (height) )",
    "CREATE TABLE log_leaf ( number INTEGER NOT NULL, leaf_data BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (number) )",
    "CREATE TABLE log_tile ( level INTEGER NOT NULL, number INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (level, number) )",
    "CREATE TABLE meta ( name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name) )",
    "CREATE TABLE parked ( pk INTEGER NOT NULL, reason TEXT NOT NULL, sealed BLOB NOT NULL, key_context BLOB NOT NULL, object_id BLOB NOT NULL, key_id BLOB NOT NULL, epoch INTEGER NOT NULL, algorithm INTEGER NOT NULL, location TEXT NOT NULL, file_bytes INTEGER NOT NULL, header_plain_bytes INTEGER NOT NULL, bulk_plain_bytes INTEGER NOT NULL, prefix_bytes INTEGER NOT NULL, header_sealed_bytes INTEGER NOT NULL, bulk_sealed_bytes INTEGER NOT NULL, data_set_sha256 BLOB NOT NULL, file_sha256 BLOB NOT NULL, transfer_syntax_uid TEXT NOT NULL, received_at FLOAT NOT NULL, source TEXT NOT NULL, log_index INTEGER NOT NULL, PRIMARY KEY (pk), UNIQUE (object_id) )",
    "CREATE INDEX ix_parked_data_set_sha256 ON parked (data_set_sha256)",
    "CREATE TABLE patient ( id BLOB NOT NULL, key_id BLOB NOT NULL, id_token BLOB, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (key_id), UNIQUE (id_token) )",
    "CREATE TABLE person ( id BLOB NOT NULL, username TEXT NOT NULL, display_name TEXT NOT NULL, roles TEXT NOT NULL, department TEXT NOT NULL, password_hash TEXT NOT NULL, suspended INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (username) )",
    "CREATE TABLE factor ( id BLOB NOT NULL, person_id BLOB NOT NULL, kind TEXT NOT NULL, secret BLOB NOT NULL, last_counter INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), FOREIGN KEY(person_id) REFERENCES person (id) )",
    "CREATE INDEX ix_factor_person_id ON factor (person_id)",
    "CREATE TABLE session ( id BLOB NOT NULL, person_id BLOB NOT NULL, secret_sha256 BLOB NOT NULL, created_at FLOAT NOT NULL, expires_at FLOAT NOT NULL, second_factor_at FLOAT NOT NULL, ended INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), FOREIGN KEY(person_id) REFERENCES person (id) )",
    "CREATE INDEX ix_session_person_id ON session (person_id)",
    "CREATE TABLE study ( pk INTEGER NOT NULL, uid TEXT NOT NULL, patient_id BLOB NOT NULL, key_id BLOB NOT NULL, department TEXT NOT NULL, study_date TEXT NOT NULL, study_time TEXT NOT NULL, accession_token BLOB, patient_id_token BLOB, sealed BLOB NOT NULL, created_at FLOAT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (pk), UNIQUE (uid), FOREIGN KEY(patient_id) REFERENCES patient (id), UNIQUE (key_id) )",
    "CREATE INDEX ix_study_accession_token ON study (accession_token)",
    "CREATE INDEX ix_study_patient_id ON study (patient_id)",
    "CREATE INDEX ix_study_patient_id_token ON study (patient_id_token)",
    "CREATE INDEX ix_study_study_date ON study (study_date)",
    "CREATE TABLE name_token ( token INTEGER NOT NULL, study_pk INTEGER NOT NULL, PRIMARY KEY (token, study_pk), FOREIGN KEY(study_pk) REFERENCES study (pk) ) WITHOUT ROWID",
    "CREATE TABLE series ( pk INTEGER NOT NULL, uid TEXT NOT NULL, study_pk INTEGER NOT NULL, modality TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (pk), UNIQUE (uid), FOREIGN KEY(study_pk) REFERENCES study (pk) )",
    "CREATE INDEX ix_series_study_pk ON series (study_pk)",
    "CREATE TABLE instance ( pk INTEGER NOT NULL, uid TEXT NOT NULL, series_pk INTEGER NOT NULL, study_pk INTEGER NOT NULL, sop_class_uid TEXT NOT NULL, instance_number TEXT NOT NULL, rows INTEGER NOT NULL, columns INTEGER NOT NULL, bits_allocated INTEGER NOT NULL, number_of_frames INTEGER NOT NULL, object_id BLOB NOT NULL, key_id BLOB NOT NULL, epoch INTEGER NOT NULL, algorithm INTEGER NOT NULL, location TEXT NOT NULL, file_bytes INTEGER NOT NULL, header_plain_bytes INTEGER NOT NULL, bulk_plain_bytes INTEGER NOT NULL, prefix_bytes INTEGER NOT NULL, header_sealed_bytes INTEGER NOT NULL, bulk_sealed_bytes INTEGER NOT NULL, data_set_sha256 BLOB NOT NULL, file_sha256 BLOB NOT NULL, transfer_syntax_uid TEXT NOT NULL, received_at FLOAT NOT NULL, source TEXT NOT NULL, log_index INTEGER NOT NULL, PRIMARY KEY (pk), UNIQUE (uid), FOREIGN KEY(series_pk) REFERENCES series (pk), FOREIGN KEY(study_pk) REFERENCES study (pk), UNIQUE (object_id) )",
    "CREATE INDEX ix_instance_series_pk ON instance (series_pk)",
    "CREATE INDEX ix_instance_study_pk ON instance (study_pk)",
)


def upgrade() -> None:
    """Create every table of format version 1."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """There is nothing before the first version."""
    raise NotImplementedError("format version 1 has no predecessor")
