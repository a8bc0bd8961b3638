"""Bring a database to this program's schema, or refuse one from the future.

Rules, in order:
1. A revision this program does not know is refused and nothing is changed; the message names who wrote it.
2. All steps are one transaction: after a failure, a kill or a power loss the database is the old one or the new one.
3. There is no way down: going back is a restore, by the older program, of a backup made before.
4. A database that is up to date is told by its own rows: what changes schemas is loaded only to change one.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ribcage import __version__
from ribcage.database.errors import DatabaseNewer, MigrationFailed
from ribcage.database.schema import meta

SCRIPTS = Path(__file__).parent / "migrations"
HEAD = "0017"  # the newest revision below `SCRIPTS`
_REVISION = sa.table("alembic_version", sa.column("version_num"))
PROGRAM = "program"  # the row of `meta` that names the Ribcage which wrote this database last


def migrate(engine: sa.Engine, program: str = __version__, scripts: Path = SCRIPTS) -> tuple[str | None, str]:
    """Upgrade to the newest schema and note the `program`'s version; the revisions before (None: new) and after.

    Raises DatabaseNewer and MigrationFailed; the database is unchanged then.
    """
    if scripts == SCRIPTS and _is_current(engine, program):
        return HEAD, HEAD
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(scripts))
    folder = ScriptDirectory.from_config(config)
    known = {script.revision for script in folder.walk_revisions()}
    head = str(folder.get_current_head())
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        writer = _writer(connection) if current is not None else program
        if current is not None and current not in known:
            raise DatabaseNewer(
                f"this home has database revision {current} of Ribcage {writer}, this is {program} and knows {head}: "
                f"install Ribcage {writer} or newer; nothing was changed"
            )
        if (current, writer) == (head, program):
            return current, head
        connection.rollback()  # the reads' transaction
        config.attributes["connection"] = connection
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver begins none by itself (rule 2)
        try:
            command.upgrade(config, "head")
            _note_writer(connection, program)
            connection.commit()
        except sa.exc.SQLAlchemyError as failure:
            connection.rollback()
            raise MigrationFailed(
                f"the database stays at revision {current} of Ribcage {writer}: the step to {head} failed "
                f"({type(failure).__name__}); go on with Ribcage {writer} and report this"
            ) from failure
    return current, head


def _is_current(engine: sa.Engine, program: str) -> bool:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(_REVISION.name):
            return False
        current = connection.execute(sa.select(_REVISION.c.version_num)).scalars().all()
        return list(current) == [HEAD] and _writer(connection) == program


def _writer(connection: sa.Connection) -> str:
    row = connection.execute(sa.select(meta.c.value).where(meta.c.name == PROGRAM)).first()
    return str(row.value) if row is not None else "0.1.0 or older"


def _note_writer(connection: sa.Connection, program: str) -> None:
    connection.execute(sa.delete(meta).where(meta.c.name == PROGRAM))
    connection.execute(sa.insert(meta).values(name=PROGRAM, value=program))
