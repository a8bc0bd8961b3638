"""Certificates that devices renewed and have not used yet."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE device_renewal ( id BLOB NOT NULL, fingerprint BLOB NOT NULL, certificate_pem BLOB NOT NULL, not_after FLOAT NOT NULL, issued_at FLOAT NOT NULL, old_until FLOAT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (fingerprint) )",
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs would refuse renewed devices."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
