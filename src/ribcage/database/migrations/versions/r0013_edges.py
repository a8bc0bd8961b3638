"""Edges: whose entries are opened, and what each was told last."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE edge ( id BLOB NOT NULL, signing_key BLOB NOT NULL, sequence INTEGER NOT NULL, digest BLOB NOT NULL, receipt BLOB NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
    "CREATE TABLE edge_device ( id BLOB NOT NULL, edge_id BLOB NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs would take entries twice."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
