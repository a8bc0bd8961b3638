"""The whole database: `schema` and the modules of tables beside it, for whoever compares or migrates it."""

from __future__ import annotations

from ribcage.database import care_tables, commitment_schema, device_tables, edge_tables, research
from ribcage.database.schema import metadata

__all__ = ["care_tables", "commitment_schema", "device_tables", "edge_tables", "metadata", "research"]
