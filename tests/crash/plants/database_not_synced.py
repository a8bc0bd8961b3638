"""The database's log is written and never synced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attacks.patches._put import Put
from ribcage.database import engine


def apply(put: Put) -> None:
    strict = engine._connect

    def connect(path: Path, key: bytes) -> Any:
        connection = strict(path, key)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    put(engine, "_connect", connect)
