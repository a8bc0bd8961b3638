"""What the command line tells a person: one line and a hint, never a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def files_at(what: str) -> Iterator[None]:
    """Failures of files below become one line: a full disk, a folder that may not be written."""
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads the output: `cli.entry`
    except OSError as failure:
        where = f" ({failure.filename})" if failure.filename else ""
        raise UsageError(
            f"{what}: {failure.strerror}{where}", "mend that and run the command again"
        ) from failure


class UsageError(Exception):
    """Something the caller can mend. `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
