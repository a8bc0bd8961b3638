"""Care relations from the hospital's information system."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE his_message ( number INTEGER NOT NULL, token BLOB NOT NULL, content BLOB NOT NULL, at FLOAT NOT NULL, sealed BLOB NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (number), UNIQUE (token) )",
    "CREATE TABLE care_relation ( id BLOB NOT NULL, token BLOB NOT NULL, sort TEXT NOT NULL, device_id BLOB NOT NULL, patient_id BLOB NOT NULL, state TEXT NOT NULL, state_at FLOAT NOT NULL, state_by TEXT NOT NULL, facts_at FLOAT NOT NULL, heard_at FLOAT NOT NULL, message INTEGER NOT NULL, progress TEXT NOT NULL, sealed BLOB NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (token) )",
    "CREATE INDEX ix_care_relation_patient_id ON care_relation (patient_id)",
    "CREATE TABLE performed_step ( id BLOB NOT NULL, device_id BLOB NOT NULL, relation_id BLOB NOT NULL, state TEXT NOT NULL, at FLOAT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
    "CREATE TABLE care_grant ( grant_id INTEGER NOT NULL, person_id BLOB NOT NULL, patient_id BLOB NOT NULL, relation_id BLOB NOT NULL, message INTEGER NOT NULL, until FLOAT NOT NULL, ended INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (grant_id) )",
    "CREATE TABLE staff_number ( id BLOB NOT NULL, number TEXT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
    "CREATE TABLE shift ( id BLOB NOT NULL, number INTEGER NOT NULL, staff TEXT NOT NULL, ward TEXT NOT NULL, begins_at FLOAT NOT NULL, ends_at FLOAT NOT NULL, device_id BLOB NOT NULL, told_at FLOAT NOT NULL, removed INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (number) )",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs would never end a grant that a message made."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
