"""Alembic migrations; run by `ribcage.database.migrate`."""
