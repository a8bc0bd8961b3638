"""Alembic environment: the connection is handed in by `ribcage.database.migrate`."""

from alembic import context

from ribcage.database.whole import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
