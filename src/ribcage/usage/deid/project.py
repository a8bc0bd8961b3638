"""A project: the folder that holds its key (docs/formats.md, "De-identification"). Whoever has the key can link.

Rules, in order:
1. The key is made at first use: 32 random bytes in `project.key`, mode 0600, in a folder of mode 0700. A file that
   others may read is refused.
2. It never stands beside outputs: the folder is neither in the output nor around it.
3. The journal of a run lies here too: by keyed name of each input, what came of it.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from ribcage.guard.durable import make_folder, sync_folder
from ribcage.usage.deid.errors import ProjectInvalid

_FILE: Final = "project.key"
_FORM: Final = re.compile(rb"ribcage deid project 1\n([0-9a-f]{64})\n")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def project_key(folder: Path) -> bytes:
    """The project's 32-byte key, made when the folder has none. Raises ProjectInvalid, OSError."""
    path = folder / _FILE
    if not path.exists():
        make_folder(folder)
        _create(path)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            raise ProjectInvalid(
                "expected a project key that only its owner can read, got wider rights", f"chmod 600 {path}"
            )
        found = _FORM.fullmatch(file.read(256))
    if found is None:
        raise ProjectInvalid("expected a project key, got another file", "name the project's own folder")
    return bytes.fromhex(found[1].decode("ascii"))


def _create(path: Path) -> None:
    """Write a new key, whole or not at all; another process may be first, then its key holds."""
    fresh = path.with_name(f"{_FILE}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(f"ribcage deid project 1\n{secrets.token_hex(32)}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    sync_folder(path.parent)


def journal_of(folder: Path) -> Path:
    """Where the journal of this project's runs stands; made readable by its owner only."""
    path = folder / "journal.jsonl"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
    return path
