"""Errors of the witness's own home.

WitnessError
├── WitnessHomeUnusable   missing, damaged, of a newer format
└── ForkRefused           a fork statement does not fit what the witness remembers
"""

from __future__ import annotations


class WitnessError(Exception):
    """Base of everything this room raises; the message says what to do."""


class WitnessHomeUnusable(WitnessError):
    """The witness's home cannot be created or opened."""


class ForkRefused(WitnessError):
    """A statement that does not follow from what this witness saw, or a log it will not take."""
