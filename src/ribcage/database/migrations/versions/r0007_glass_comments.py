"""What a reviewer writes about a broken glass, beside its row: a new column would break the row's MAC."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE glass_comment ( break_glass_id BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (break_glass_id) )",
)


def upgrade() -> None:
    """Add the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A judgement must not be forgotten."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
