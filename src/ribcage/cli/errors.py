"""What the command line tells a person: one line and a hint, never a traceback."""

from __future__ import annotations


class UsageError(Exception):
    """Something the caller can mend. `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
