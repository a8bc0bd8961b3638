"""Research projects, their pseudonyms, and who asked whom one stands for."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE project ( id BLOB NOT NULL, name TEXT NOT NULL, profile TEXT NOT NULL, sealed BLOB NOT NULL, officer BLOB NOT NULL, added_at FLOAT NOT NULL, until FLOAT NOT NULL, ended_at FLOAT NOT NULL, releases INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (name) )",
    "CREATE TABLE release_link ( id BLOB NOT NULL, project_id BLOB NOT NULL, patient_token BLOB NOT NULL, study_token BLOB NOT NULL, study_key_id BLOB NOT NULL, sealed BLOB NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
    "CREATE INDEX ix_release_link_patient_token ON release_link (patient_token)",
    "CREATE INDEX ix_release_link_study_token ON release_link (study_token)",
    "CREATE INDEX ix_release_link_study_key_id ON release_link (study_key_id)",
    "CREATE TABLE reidentification ( id BLOB NOT NULL, number INTEGER NOT NULL, project_id BLOB NOT NULL, token BLOB NOT NULL, reason TEXT NOT NULL, state TEXT NOT NULL, asked_by BLOB NOT NULL, asked_at FLOAT NOT NULL, approved_by BLOB, ended_at FLOAT NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (number) )",
)


def upgrade() -> None:
    """Add the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Old programs would leave pseudonyms of destroyed studies behind."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
