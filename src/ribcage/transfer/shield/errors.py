"""The error tree behind the shield. Askers see a guard that is unavailable, or refuses as throttled.

PacsError
├── PacsLost       no connection, no answer in time, or the association broke off
├── PacsRefused    it answered, and not as asked; `status` is its own
└── TooManyAnswers it found more than one answer may hold
"""

from __future__ import annotations

from ribcage.transfer.errors import TransferError


class PacsError(TransferError):
    """Base of what the associations with the old PACS raise."""


class PacsLost(PacsError):
    """Trying again may help."""


class PacsRefused(PacsError):
    """A status other than success."""

    def __init__(self, message: str, status: int = 0x0110) -> None:
        super().__init__(message)
        self.status = status


class TooManyAnswers(PacsError):
    """Ask for less."""
