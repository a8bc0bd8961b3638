"""What is known of devices beside what decides (`guard.equipment`), beside the tables of `database.schema`."""

from __future__ import annotations

import sqlalchemy as sa

from ribcage.database.metadata import metadata, row_mac

device_fact = sa.Table(
    "device_fact",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # of the device
    sa.Column("owner", sa.Text, nullable=False),  # these two as an operator wrote them
    sa.Column("place", sa.Text, nullable=False),
    sa.Column(
        "manufacturer", sa.Text, nullable=False
    ),  # these four as its newest instances say; empty: not yet
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("serial_number", sa.Text, nullable=False),
    sa.Column("software_versions", sa.Text, nullable=False),  # backslash separated
    sa.Column("reported_at", sa.Float, nullable=False),  # when that was first said; 0: not yet
    *row_mac(),
)
