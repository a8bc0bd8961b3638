"""Destructions: what was asked, approved, cancelled and done."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE destruction ( id BLOB NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, study_uid TEXT NOT NULL, study_token BLOB NOT NULL, study_key_id BLOB NOT NULL, patient_id BLOB NOT NULL, resource BLOB NOT NULL, asked_by BLOB NOT NULL, asked_at FLOAT NOT NULL, approved_by BLOB, approved_at FLOAT NOT NULL, due_at FLOAT NOT NULL, ended_by BLOB, ended_at FLOAT NOT NULL, certificate BLOB, log_index INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (number) )",
    "CREATE INDEX ix_destruction_study_token ON destruction (study_token)",
)


def upgrade() -> None:
    """Add the table of destructions."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A destruction must not be forgotten."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
