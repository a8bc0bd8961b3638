"""Tables of research: projects, and who stands behind a project's pseudonyms.

Clear: names of projects, profiles, whose officer, times. Sealed: a project's key (service key "log"), pseudonyms (the
study's key). Keyed tokens: pseudonyms, so that one is found only by whoever shows it.
"""

from __future__ import annotations

import sqlalchemy as sa

from ribcage.database.metadata import metadata, row_mac

project = sa.Table(
    "project",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("profile", sa.Text, nullable=False),  # JSON of `guard.protocol.ProjectProfile`
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # the project's key
    sa.Column("officer", sa.LargeBinary(16), nullable=False),  # the person who may release
    sa.Column("added_at", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float, nullable=False),  # 0: not ended early
    sa.Column("releases", sa.Integer, nullable=False),  # number of the last one
    *row_mac(),
)

release_link = sa.Table(
    "release_link",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("project_id", sa.LargeBinary(16), nullable=False),
    sa.Column("patient_token", sa.LargeBinary(32), nullable=False, index=True),  # of the pseudonym
    sa.Column("study_token", sa.LargeBinary(32), nullable=False, index=True),  # of the study's new UID
    sa.Column("study_key_id", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # both in clear, under the study's key
    *row_mac(),
)

reidentification = sa.Table(
    "reidentification",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("project_id", sa.LargeBinary(16), nullable=False),
    sa.Column("token", sa.LargeBinary(32), nullable=False),  # of the pseudonym that was shown
    sa.Column("reason", sa.Text, nullable=False),  # closed list of `guard.protocol`
    sa.Column("state", sa.Text, nullable=False),  # asked, cancelled, done
    sa.Column("asked_by", sa.LargeBinary(16), nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("approved_by", sa.LargeBinary(16)),
    sa.Column("ended_at", sa.Float, nullable=False),  # 0: not yet
    *row_mac(),
)
