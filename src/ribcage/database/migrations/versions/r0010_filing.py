"""Conflicts that became part of a study."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE filed ( id BLOB NOT NULL, study_key_id BLOB NOT NULL, data_set_sha256 BLOB NOT NULL, sealed BLOB NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
    "CREATE INDEX ix_filed_data_set_sha256 ON filed (data_set_sha256)",
    "CREATE INDEX ix_filed_study_key_id ON filed (study_key_id)",
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs would send filed instances under UIDs that they do not carry."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
