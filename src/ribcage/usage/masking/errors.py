"""The error tree of the masking room.

MaskingError
├── NoMaskingRule      no reviewed rule for this SOP class: the masked view is refused (DESIGN rule 7)
└── PseudonymInvalid   the caller's pseudonym is not plain ASCII text of at most 64 characters
"""

from __future__ import annotations

from typing import ClassVar


class MaskingError(Exception):
    """Base of everything this room raises; the instance is not disclosed in the masked view."""

    dimse_status: ClassVar[int] = 0x0122
    http_status: ClassVar[int] = 406


class NoMaskingRule(MaskingError):
    """The SOP class has no reviewed masking rule, or the data set is of another class than the index says."""


class PseudonymInvalid(MaskingError):
    """A pseudonym that could not be written as PN or LO in the default repertoire."""

    http_status: ClassVar[int] = 500
