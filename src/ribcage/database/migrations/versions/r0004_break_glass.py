"""Break-glass: who broke it, for what, until when, and the review; how far the emergency journal is in the log."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE break_glass ( id BLOB NOT NULL, number INTEGER NOT NULL, person_id BLOB NOT NULL, patient_id BLOB NOT NULL, study_key_id BLOB, resource BLOB NOT NULL, reason TEXT NOT NULL, note BLOB, occurred_at FLOAT NOT NULL, valid_until FLOAT NOT NULL, ended_at FLOAT NOT NULL, emergency INTEGER NOT NULL, verdict TEXT NOT NULL, reviewed_by BLOB, reviewed_at FLOAT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (number) )",
    "CREATE TABLE emergency_mark ( id BLOB NOT NULL, submitted INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
)


def upgrade() -> None:
    """Add the two tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A broken glass must not be forgotten."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
