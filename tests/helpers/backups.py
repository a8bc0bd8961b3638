"""`ribcage backup` and `ribcage restore` as an operator runs them, and what destroys a study in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import sqlalchemy as sa

from helpers.guard_house import PASSPHRASE, Officer, at_database
from ribcage.crypto.provider import FileKeyProvider
from ribcage.database.schema import destruction
from ribcage.guard.home import read_facts
from ribcage.guard.keyring import Keyring
from ribcage.guard.rows import MacRows


def ribcage(
    *words: str | Path, persons: list[Officer] | None = None, passphrase: bytes = PASSPHRASE
) -> subprocess.CompletedProcess[str]:
    """One command; `persons` prove themselves with fresh codes, in this order."""
    given = {"--passphrase-fd": passphrase}
    if persons is not None:
        proofs = [msgspec.to_builtins(each.approves()) for each in persons]
        given["--persons-fd"] = json.dumps(proofs).encode()
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
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
    finally:
        for each in descriptors:
            os.close(each)


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
