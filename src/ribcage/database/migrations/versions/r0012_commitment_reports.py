"""Reports of storage commitment that no device has confirmed yet."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE commitment_report ( number INTEGER NOT NULL, device_id BLOB NOT NULL, ae_title TEXT NOT NULL, transaction_uid TEXT NOT NULL, told BLOB NOT NULL, instances INTEGER NOT NULL, failed INTEGER NOT NULL, state TEXT NOT NULL, refusal TEXT NOT NULL, tries INTEGER NOT NULL, made_at FLOAT NOT NULL, next_at FLOAT NOT NULL, ended_at FLOAT NOT NULL, lease BLOB NOT NULL, lease_until FLOAT NOT NULL, PRIMARY KEY (number) )",
    "CREATE INDEX ix_commitment_report_device_id ON commitment_report (device_id)",
    "CREATE INDEX ix_commitment_report_state ON commitment_report (state, next_at)",
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs would forget what they owe."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
