"""Patient identity: changes, what they made of each study, merged patients."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE identity_change ( id BLOB NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, undoes INTEGER NOT NULL, studies INTEGER NOT NULL, sealed BLOB NOT NULL, asked_by BLOB NOT NULL, asked_at FLOAT NOT NULL, approved_by BLOB, ended_at FLOAT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (number) )",
    "CREATE TABLE study_identity ( id BLOB NOT NULL, patient_id BLOB NOT NULL, changes TEXT NOT NULL, sealed BLOB NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
    "CREATE TABLE patient_link ( id BLOB NOT NULL, key_id BLOB NOT NULL, into_id BLOB NOT NULL, change INTEGER NOT NULL, standing INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs would show merged studies to whom they were never shown."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
