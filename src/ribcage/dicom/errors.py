"""The error tree of the dicom room.

    DicomError
    ├── PduError                      ends the association: A-ABORT, source service-provider (PS3.8 9.3.8)
    │   ├── PduMalformed
    │   ├── PduUnrecognized
    │   └── PduTooLarge
    ├── ProtocolMisuse                the local caller asked for something the association's state forbids
    ├── CommandMalformed              a DIMSE command set that PS3.7 does not permit
    ├── UnsupportedTransferSyntax     not in PS3.6 Annex A
    ├── UnsupportedSopClass           not in PS3.6 Annex A, or not a class this peer may use
    ├── LimitExceeded                 a configured limit was reached
    │   └── DataSetLimitExceeded      size, depth, count or inflation ratio of a data set
    ├── DataSetMalformed              a data set or file that PS3.5 or PS3.10 does not permit
    └── IdentifierMismatch            a query's identifier that its SOP class does not permit

DIMSE and HTTP statuses follow from the class, never from the text. Messages say expected, got and what to do
next; they carry offsets, lengths and tags, never values.
"""

from __future__ import annotations

from typing import ClassVar


class DicomError(Exception):
    """Base of everything this room raises. `dimse_status` PS3.7 Annex C, `http_status` RFC 9110."""

    dimse_status: ClassVar[int] = 0x0110  # processing failure
    http_status: ClassVar[int] = 400


class PduError(DicomError):
    """Bytes on an association that PS3.8 does not permit.

    `abort_reason` is the Reason/Diag. field of the A-ABORT to be sent (PS3.8 9.3.8, service-provider).
    """

    abort_reason: ClassVar[int] = 0  # reason not specified


class PduMalformed(PduError):
    """A PDU with a wrong length, a missing item or an unpermitted value."""

    abort_reason: ClassVar[int] = 6  # invalid PDU parameter value


class PduUnrecognized(PduError):
    """A PDU type that PS3.8 does not define."""

    abort_reason: ClassVar[int] = 1  # unrecognized PDU


class PduTooLarge(PduError):
    """A PDU longer than the announced or configured maximum."""

    abort_reason: ClassVar[int] = 6
    http_status: ClassVar[int] = 413


class ProtocolMisuse(DicomError):
    """A local call that the state of the association or an agreed parameter does not permit."""

    http_status: ClassVar[int] = 500


class CommandMalformed(DicomError):
    """A command set that is not Implicit VR Little Endian, misses a field or is out of its limits."""

    dimse_status: ClassVar[int] = 0x0115  # invalid argument value


class UnsupportedTransferSyntax(DicomError):
    """A transfer syntax that is not in PS3.6 Annex A."""

    dimse_status: ClassVar[int] = 0xC000
    http_status: ClassVar[int] = 415


class UnsupportedSopClass(DicomError):
    """A SOP class that is unknown or not permitted here."""

    dimse_status: ClassVar[int] = 0x0122
    http_status: ClassVar[int] = 415


class LimitExceeded(DicomError):
    """A limit in bytes, depth, count or time was reached; the limit stands in the configuration."""

    dimse_status: ClassVar[int] = 0xA700  # out of resources
    http_status: ClassVar[int] = 413


class DataSetLimitExceeded(LimitExceeded):
    """A data set beyond its limits: size, depth, number of elements, inflation ratio."""

    dimse_status: ClassVar[int] = 0xC000


class DataSetMalformed(DicomError):
    """A data set or file that cannot be understood. `offset` is in bytes from its start, -1 where unknown."""

    dimse_status: ClassVar[int] = 0xC000

    def __init__(self, message: str, offset: int = -1) -> None:
        super().__init__(message if offset < 0 else f"{message} (at byte {offset})")
        self.offset = offset


class IdentifierMismatch(DicomError):
    """An identifier that does not match its SOP class (PS3.4 C.4.1.1.4); `tag` is the offending key."""

    dimse_status: ClassVar[int] = 0xA900

    def __init__(self, message: str, tag: int) -> None:
        super().__init__(message)
        self.tag = tag
