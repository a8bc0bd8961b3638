"""Destinations of C-MOVE: an AE title, the device behind it, and where it listens."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE destination ( id BLOB NOT NULL, ae_title TEXT NOT NULL, device_id BLOB NOT NULL, address TEXT NOT NULL, port INTEGER NOT NULL, removed INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (ae_title) )",
)


def upgrade() -> None:
    """Add the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Where images may go must not be forgotten."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
