"""Why a failed sync ends the process: what was refused is there at the next start (docs/adr/0009)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.inject import Call, Faults
from ribcage.database.engine import open_engine

_KEY = bytes(32)
_COMMIT = """
import os, sys
from pathlib import Path
from ribcage.database.engine import open_engine
from ribcage.guard import doubt
if sys.argv[2] == "patched":
    doubt.end_process = lambda why: print("refused", flush=True)
with open_engine(Path(sys.argv[1]), bytes(32)).connect() as connection:
    connection.exec_driver_sql("INSERT INTO stored VALUES (0)")
    connection.commit()
    print("open", flush=True)
    sys.stdin.readline()
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    connection.exec_driver_sql("INSERT INTO stored VALUES (1)")
    with doubt.committing():
        connection.exec_driver_sql("COMMIT")
        print("acknowledged", flush=True)
    os._exit(9)  # the next thing that happens to it is kill -9
"""


def _rows(path: Path) -> int:
    engine = open_engine(path, _KEY)
    try:
        with engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM stored").scalar_one())
    finally:
        engine.dispose()


def _commit_with_failing_sync(injector: Path, folder: Path, how: str) -> tuple[int, str]:
    """`(exit status, what was answered)`."""
    path, faults = folder / "some.db", Faults(injector, folder)
    engine = open_engine(path, _KEY)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE stored (number INTEGER)")
    engine.dispose()
    with subprocess.Popen(
        [sys.executable, "-c", _COMMIT, str(path), how],
        env=dict(os.environ, **faults.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        fault = faults.fail(Call.SYNC, path)
        answer, _ = process.communicate("go\n", timeout=20)
        assert fault.hits > 0
    return process.returncode, answer.strip()


def test_commit_whose_sync_failed_is_answered_to_nobody(injector: Path, tmp_path: Path) -> None:
    assert _commit_with_failing_sync(injector, tmp_path, "as it is") == (os.EX_IOERR, "")


def test_without_it_what_was_refused_is_there_at_the_next_start(injector: Path, tmp_path: Path) -> None:
    """The control: a front would have removed the file of this row."""
    assert _commit_with_failing_sync(injector, tmp_path, "patched") == (9, "refused")
    assert _rows(tmp_path / "some.db") == 2


@pytest.mark.parametrize("calls", [Call.SYNC, Call.WRITE])
def test_opening_writes_the_log_into_the_file_or_fails(injector: Path, tmp_path: Path, calls: Call) -> None:
    """What was left in the write-ahead log is durable before anything is answered."""
    _commit_with_failing_sync(injector, tmp_path, "as it is")
    path, faults = tmp_path / "some.db", Faults(injector, tmp_path)
    log = path.with_name("some.db-wal")
    assert log.stat().st_size > 0
    program = "import sys; from pathlib import Path; from ribcage.database.engine import open_engine; "
    program += "open_engine(Path(sys.argv[1]), bytes(32))"
    fault = faults.fail(calls, path)
    failed = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env=dict(os.environ, **faults.environment),
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert fault.end() > 0
    assert failed.returncode != 0 and b"DatabaseFailing" in failed.stderr
    engine = open_engine(path, _KEY)
    assert log.stat().st_size == 0
    engine.dispose()
    assert _rows(path) == 2
