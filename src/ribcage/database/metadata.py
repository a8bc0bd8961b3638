"""What the modules of tables share."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()


def row_mac() -> list[sa.Column[object]]:
    """Columns of a row that decides access."""
    return [
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("mac", sa.LargeBinary(32), nullable=False),
    ]
