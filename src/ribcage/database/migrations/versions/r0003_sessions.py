"""Sessions know their client and their superseded secrets. Live sessions end: people log in again."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    "DROP TABLE session",
    "CREATE TABLE session ( id BLOB NOT NULL, person_id BLOB NOT NULL, secret_sha256 BLOB NOT NULL, issued_sha256 BLOB NOT NULL, issued_at FLOAT NOT NULL, superseded BLOB NOT NULL, client BLOB NOT NULL, address TEXT NOT NULL, created_at FLOAT NOT NULL, used_at FLOAT NOT NULL, expires_at FLOAT NOT NULL, second_factor_at FLOAT NOT NULL, second_factor TEXT NOT NULL, ended INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), FOREIGN KEY(person_id) REFERENCES person (id) )",
    "CREATE INDEX ix_session_person_id ON session (person_id)",
)


def upgrade() -> None:
    """Replace the table of sessions."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs do not check what a session is bound to."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
