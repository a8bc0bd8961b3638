"""The sending queue: jobs and their instances, routing rules, and what a destination's C-MOVEs may leave behind."""

# ruff: noqa: E501 - frozen statements stay as they were generated

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TABLE send_job ( number INTEGER NOT NULL, destination TEXT NOT NULL, study_uid TEXT NOT NULL, why TEXT NOT NULL, state TEXT NOT NULL, refusal TEXT NOT NULL, tries INTEGER NOT NULL, progress INTEGER NOT NULL, instances INTEGER NOT NULL, sent INTEGER NOT NULL, made_at FLOAT NOT NULL, next_at FLOAT NOT NULL, ended_at FLOAT NOT NULL, lease BLOB NOT NULL, lease_until FLOAT NOT NULL, asker BLOB NOT NULL, asker_title TEXT NOT NULL, asker_address TEXT NOT NULL, PRIMARY KEY (number) )",
    "CREATE INDEX ix_send_job_study_uid ON send_job (study_uid, destination)",
    "CREATE INDEX ix_send_job_state ON send_job (state, next_at)",
    "CREATE TABLE send_item ( job INTEGER NOT NULL, uid TEXT NOT NULL, sent INTEGER NOT NULL, status INTEGER NOT NULL, PRIMARY KEY (job, uid), FOREIGN KEY(job) REFERENCES send_job (number) ) WITHOUT ROWID",
    "CREATE TABLE route_rule ( id BLOB NOT NULL, number INTEGER NOT NULL, destination TEXT NOT NULL, conditions TEXT NOT NULL, removed INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id), UNIQUE (number) )",
    "CREATE TABLE destination_retry ( id BLOB NOT NULL, moves INTEGER NOT NULL, version INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (id) )",
)


def upgrade() -> None:
    """Add the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """What waits to be sent must not be forgotten."""
    raise NotImplementedError("go back with the copy kept before the migration, not by undoing it")
