"""`ribcage backup` and `ribcage restore` as an operator runs them, and what destroys a study in between."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import sqlalchemy as sa

from helpers.guard_house import PASSPHRASE, Officer, at_database
from ribcage.cli.main import main
from ribcage.crypto.provider import FileKeyProvider
from ribcage.database.schema import destruction
from ribcage.guard.keyring import Keyring
from ribcage.guard.place import read_facts
from ribcage.guard.rows import MacRows


def ribcage(
    *words: str | Path,
    persons: list[Officer] | None = None,
    passphrase: bytes = PASSPHRASE,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """One command; `persons` prove themselves with fresh codes, in this order."""
    given = _given(persons, passphrase)
    command, descriptors = [sys.executable, "-m", "ribcage.cli.main", *map(str, words)], []
    for option, content in given.items():
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        command += [option, str(reading)]
        descriptors.append(reading)
    try:
        return subprocess.run(
            command,
            pass_fds=descriptors,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
    finally:
        for each in descriptors:
            os.close(each)


@dataclass(frozen=True)
class Said:
    """What a command said in this process."""

    returncode: int
    stdout: str
    stderr: str


def in_process(
    *words: str | Path, persons: list[Officer] | None = None, passphrase: bytes = PASSPHRASE
) -> Said:
    """The same here: quicker, and open to patches."""
    given = _given(persons, passphrase)
    command, descriptors = [*map(str, words)], []
    for option, content in given.items():
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        command += [option, str(reading)]
        descriptors.append(reading)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(command)
    finally:
        for each in descriptors:
            os.close(each)
    return Said(status, out.getvalue(), err.getvalue())


def _given(persons: list[Officer] | None, passphrase: bytes) -> dict[str, bytes]:
    given = {"--passphrase-fd": passphrase}
    if persons is not None:
        for each in persons:  # never the code of the half minute before: the command takes its time
            each._last = max(each._last, int(time.time()) // 30 - 1)
        proofs = [msgspec.to_builtins(each.approves()) for each in persons]
        given["--persons-fd"] = json.dumps(proofs).encode()
    return given


def restore(
    source: Path, home: Path, keys: Path, persons: list[Officer], *more: str | Path
) -> subprocess.CompletedProcess[str]:
    """`ribcage restore` with two persons."""
    words = ("restore", "--from", source, "--home", home, "--keys", keys, "--reason", "disk-failed")
    return ribcage(*words, *more, persons=persons)


def make_due(home: Path) -> None:
    """The time for second thoughts is over for every approved destruction; the guard is down."""
    provider = FileKeyProvider.open(home / "keys" / "provider.json", PASSPHRASE)
    keyring = Keyring.open(home / "keys" / "keystore.db", provider, read_facts(home).hospital)
    rows = MacRows(keyring.service("rowmac"))
    keyring.close()

    def work(connection: sa.Connection) -> None:
        for row in list(connection.execute(sa.select(destruction)).mappings()):
            rows.update(connection, destruction, dict(rows.check(destruction, row), due_at=1.0))

    at_database(home, work)
