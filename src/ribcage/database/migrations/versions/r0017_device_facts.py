"""Owner and place of devices, and what their instances say of them."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE device_fact ( id BLOB NOT NULL, owner TEXT NOT NULL, place TEXT NOT NULL, manufacturer TEXT NOT NULL, model TEXT NOT NULL, serial_number TEXT NOT NULL, software_versions TEXT NOT NULL, reported_at FLOAT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
)


def upgrade() -> None:
    """Add the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """As everywhere: not by undoing it."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
