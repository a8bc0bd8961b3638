"""`ribcage … | head`: whoever reads may stop; the command ends without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.deid_objects import ct, file_of


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_stops_is_no_fault(tmp_path: Path, unbuffered: str) -> None:
    film = tmp_path / "film.dcm"
    film.write_bytes(file_of(ct()))
    command = [sys.executable, "-m", "ribcage.cli.entry", "deid", "explain", str(film)]
    # As a shell starts it, but for the pipe, whose other end is closed before a byte is written.
    environment = dict(os.environ, PYTHONUNBUFFERED=unbuffered)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141
    process.stderr.close()
