"""A COMMIT of which nobody knows whether it is durable ends the process (docs/adr/0009).

Rules, in order:
1. After a failed sync neither the disk nor the page cache can be believed: the transaction may be there or not, now
   or after the next start, and syncing again may report success for pages that were never written.
2. So nobody is told yes or no: the process ends at once, as by `kill -9`. Callers see a lost connection, keep what
   they have and ask again.
3. The next start writes what the write-ahead logs hold once more and syncs it, before anything is answered.
4. A COMMIT that failed before its last write is a plain no: there was no room, or the file is read-only. SQLCipher's
   Python module does not tell a failed write from a failed sync: in doubt.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_log = logging.getLogger("ribcage.guard")
_PLAIN_NO = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_READONLY", "SQLITE_BUSY", "SQLITE_CONSTRAINT")
_DISK = ("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_FULL")


@contextmanager
def committing() -> Iterator[None]:
    """Around a COMMIT statement: what comes out is a plain no (rule 4). In doubt the process ends (rule 2)."""
    try:
        yield
    except Exception as failure:
        name = sqlite_name(failure)
        if name.startswith(_PLAIN_NO):
            raise
        end_process(f"a commit is in doubt ({name or type(failure).__name__})")


def sqlite_name(failure: BaseException | None) -> str:
    """SQLite's extended error name behind a failure, '' where there is none."""
    while failure is not None:
        name = getattr(failure, "sqlite_errorname", None)
        if isinstance(name, str):
            return name
        failure = failure.__cause__ or getattr(failure, "orig", None)
    return ""


def disk_failed(failure: BaseException) -> bool:
    """Whether the disk is what failed: starting again later may help."""
    return isinstance(failure.__cause__ or failure, OSError) or sqlite_name(failure).startswith(_DISK)


def end_process(why: str) -> NoReturn:
    """End at once: nothing is finished, answered or closed. The supervisor starts the guard again."""
    _log.critical("%s: this process ends, the next start reads from the disk again", why)
    os._exit(os.EX_IOERR)
