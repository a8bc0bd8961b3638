"""The migrations lead to the schema the code uses; the database keeps its key's rule; a newer file is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from helpers.older_homes import at_revision
from ribcage.database.edge_tables import edge
from ribcage.database.engine import open_engine
from ribcage.database.errors import DatabaseLocked, DatabaseNewer, MigrationFailed
from ribcage.database.migrate import HEAD, SCRIPTS, migrate
from ribcage.database.schema import person
from ribcage.database.whole import metadata

KEY = b"k" * 32


def test_migrated_database_equals_the_schema(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "a.db", KEY)
    assert edge.metadata is metadata  # tables of a room of their own are in it when they were imported
    assert migrate(engine) == (None, HEAD)
    assert migrate(engine) == (HEAD, HEAD)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        indexes = sa.inspect(connection).get_indexes("parked")
    assert any(index["name"] == "ix_parked_data_set_sha256" for index in indexes)
    engine.dispose()


def test_wrong_key_opens_nothing_and_tells_no_key(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "a.db", KEY)
    migrate(engine)
    engine.dispose()
    with pytest.raises(DatabaseLocked) as caught:
        open_engine(tmp_path / "a.db", b"w" * 32)
    assert (b"w" * 32).hex() not in str(caught.value)


def test_database_of_a_newer_program_is_refused_unchanged(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "a.db", KEY)
    migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseNewer):
        migrate(engine)
    engine.dispose()


def test_step_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    scripts = Path(shutil.copytree(SCRIPTS, tmp_path / "migrations"))
    step = scripts / "versions" / "r0002_destruction.py"
    step.write_text(step.read_text().replace("ON destruction (study_token)", "ON nowhere (study_token)"))
    engine = open_engine(tmp_path / "a.db", KEY)
    at_revision(engine, "0001")
    with pytest.raises(MigrationFailed, match=r"stays at revision 0001 of Ribcage 0\.1\.0 or older"):
        migrate(engine, "9.0", scripts)
    with engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "0001"
        assert "destruction" not in sa.inspect(connection).get_table_names(), "half a step"
    assert migrate(engine)[0] == "0001", "the program that wrote it, or a mended one, goes on"
    engine.dispose()


def test_no_clear_text_reaches_the_file(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "a.db", KEY)
    migrate(engine)
    name = "Muster-Erika-Unmistakable"
    row = {
        "id": b"1" * 16,
        "username": name,
        "display_name": name,
        "roles": "",
        "department": "",
        "version": 1,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(person), row | {"password_hash": "", "suspended": 0, "mac": b""})
    engine.dispose()
    for path in tmp_path.iterdir():
        assert name.encode() not in path.read_bytes()


def test_every_commit_is_synced_and_deleted_cells_are_overwritten(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "a.db", KEY)
    with engine.connect() as connection:
        read = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("synchronous", "secure_delete")
        }
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert read == {"synchronous": 2, "secure_delete": 1}
    engine.dispose()
