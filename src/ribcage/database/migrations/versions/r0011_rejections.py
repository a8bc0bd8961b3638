"""Rejection notes, what they hide, and the character sets of devices."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE rejection ( id BLOB NOT NULL, number INTEGER NOT NULL, study_key_id BLOB NOT NULL, code TEXT NOT NULL, state TEXT NOT NULL, instances INTEGER NOT NULL, source TEXT NOT NULL, at FLOAT NOT NULL, undone_by BLOB, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (number) )",
    "CREATE INDEX ix_rejection_study_key_id ON rejection (study_key_id)",
    "CREATE TABLE rejected ( id BLOB NOT NULL, note_id BLOB NOT NULL, code TEXT NOT NULL, study_key_id BLOB NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id, note_id) )",
    "CREATE INDEX ix_rejected_study_key_id ON rejected (study_key_id)",
    "CREATE TABLE device_charset ( id BLOB NOT NULL, charset TEXT NOT NULL, overrides INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs would show what was rejected."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
