"""The table of reports of storage commitment, beside those of `schema`."""

from __future__ import annotations

import sqlalchemy as sa

from ribcage.database.schema import metadata

commitment_report = sa.Table(
    "commitment_report",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("device_id", sa.LargeBinary(16), nullable=False, index=True),  # who asked, and is told
    sa.Column("ae_title", sa.Text, nullable=False),  # under which it asked
    sa.Column("transaction_uid", sa.Text, nullable=False),
    sa.Column("told", sa.LargeBinary, nullable=False),  # JSON of class, instance and word; empty: it has it
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),  # of these, not committed to
    sa.Column("state", sa.Text, nullable=False),  # as of send_job
    sa.Column("refusal", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float, nullable=False),  # 0: not yet
    sa.Column("lease", sa.LargeBinary(16), nullable=False),  # empty: nobody sends it
    sa.Column("lease_until", sa.Float, nullable=False),
    sa.Index("ix_commitment_report_state", "state", "next_at"),
)
