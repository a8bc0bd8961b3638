"""The error tree of a migration. The journal keeps what was reached; the same command goes on from there.

MigrationError
├── PeerLost       the old PACS or the archive does not answer, or broke off: waiting may help
│   └── GivenUp    the archive was waited for already: the run ends
├── PeerRefused    it answered no: a person has to look
│   └── NotOffered the old PACS does not offer this way of retrieving: another may do
├── PlainRefused   plain DICOM or HTTP towards an address that nobody named as isolated
└── JournalUnusable the work folder is another migration's, damaged or in use
"""

from __future__ import annotations

from ribcage.transfer.errors import TransferError


class MigrationError(TransferError):
    """Base of what this room raises. `hint` says what to do next."""

    def __init__(
        self, message: str, hint: str = "run the same command again: it goes on where it stopped"
    ) -> None:
        super().__init__(message)
        self.hint = hint


class PeerLost(MigrationError):
    """No connection, no answer in time, or the association broke off."""


class GivenUp(PeerLost):
    """The archive was waited for as long as the operator allows."""


class PeerRefused(MigrationError):
    """The peer answered, and not as asked."""


class NotOffered(PeerRefused):
    """The peer does not offer this service."""


class PlainRefused(MigrationError):
    """Bytes of patients would cross a network unprotected."""


class JournalUnusable(MigrationError):
    """The work folder does not serve."""
