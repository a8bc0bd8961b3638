"""Patients: which entries of the log concern whom, invitations, sessions, passkeys."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE patient_entry ( number INTEGER NOT NULL, patient_id BLOB NOT NULL, kind TEXT NOT NULL, disclosure BLOB, PRIMARY KEY (number) )",
    "CREATE INDEX ix_patient_entry_disclosure ON patient_entry (disclosure)",
    "CREATE INDEX ix_patient_entry_patient_id ON patient_entry (patient_id, number)",
    "CREATE TABLE invitation ( id BLOB NOT NULL, patient_id BLOB NOT NULL, token_sha256 BLOB NOT NULL, birth_digest BLOB NOT NULL, created_at FLOAT NOT NULL, expires_at FLOAT NOT NULL, tries INTEGER NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (token_sha256) )",
    "CREATE INDEX ix_invitation_patient_id ON invitation (patient_id)",
    "CREATE TABLE patient_session ( id BLOB NOT NULL, patient_id BLOB NOT NULL, secret_sha256 BLOB NOT NULL, client BLOB NOT NULL, created_at FLOAT NOT NULL, expires_at FLOAT NOT NULL, ended INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
    "CREATE INDEX ix_patient_session_patient_id ON patient_session (patient_id)",
    "CREATE INDEX ix_patient_session_expires_at ON patient_session (expires_at)",
    "CREATE TABLE patient_passkey ( id BLOB NOT NULL, patient_id BLOB NOT NULL, credential_token BLOB NOT NULL, secret BLOB NOT NULL, last_counter INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
    "CREATE INDEX ix_patient_passkey_patient_id ON patient_passkey (patient_id)",
    "CREATE INDEX ix_patient_passkey_credential_token ON patient_passkey (credential_token)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs do not write the index of entries."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
