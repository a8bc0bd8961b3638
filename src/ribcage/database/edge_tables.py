"""Tables of edges (`guard.edges`), beside those of `database.schema`. No column names a person or a modality."""

from __future__ import annotations

import sqlalchemy as sa

from ribcage.database.metadata import metadata, row_mac

edge = sa.Table(
    "edge",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # of its device
    sa.Column("signing_key", sa.LargeBinary(32), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),  # of the newest entry that was answered; 0: none
    sa.Column("digest", sa.LargeBinary, nullable=False),  # of that entry; empty: none
    sa.Column("receipt", sa.LargeBinary, nullable=False),  # for it
    *row_mac(),
)

edge_device = sa.Table(
    "edge_device",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # of the modality's device
    sa.Column("edge_id", sa.LargeBinary(16), nullable=False),
    *row_mac(),
)
