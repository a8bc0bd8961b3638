"""Alembic environment: the connection is handed in by `ribcage.database.migrate`."""

from alembic import context

from ribcage.database.commitment_schema import commitment_report

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=commitment_report.metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
