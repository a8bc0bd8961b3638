"""The key store's log is written and never synced."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from attacks.patches._put import Put
from ribcage.guard import _keystore


def apply(put: Put) -> None:
    strict = _keystore.connect

    def connect(path: Path) -> sqlite3.Connection:
        connection = strict(path)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    put(_keystore, "connect", connect)
