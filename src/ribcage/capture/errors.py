"""The error tree of the way in. DIMSE and HTTP statuses follow from the class, never from the text.

AdmissionError
├── NotAuthenticated     no valid session, unregistered or suspended certificate: 0124, 401
├── NotAuthorized        known, but may not store: 0124, 403
│   └── StepUpNeeded     a second factor would allow it: 0124, 403 with the offer
├── IdentityMismatch     the data set is not what the command, the URL or a rejection note named: A900, 409
├── NotUnderstood        malformed data set or file: C000, 400
├── Unsupported          a transfer syntax or SOP class we do not take: C000 or 0122, 415
├── TooLarge             over a limit of the configuration: A700, 413
├── OutOfResources       no space, or too much at once: A700, 507
├── Throttled            A700, 429
└── NotStored            guard or disk cannot answer; nothing was acknowledged: 0110, 503
"""

from __future__ import annotations

from typing import ClassVar

from ribcage.dicom.errors import (
    DicomError,
    LimitExceeded,
    UnsupportedSopClass,
    UnsupportedTransferSyntax,
)
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.storage.errors import StorageError, StorageFull


class AdmissionError(Exception):
    """Base of what `admit` raises. `sop_class_uid` and `sop_instance_uid` are set where they are known."""

    dimse_status: ClassVar[int] = 0x0110
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, sop_class_uid: str = "", sop_instance_uid: str = "") -> None:
        super().__init__(message)
        self.sop_class_uid = sop_class_uid
        self.sop_instance_uid = sop_instance_uid


class NotAuthenticated(AdmissionError):
    """No valid session, or a certificate that is not registered or is suspended."""

    dimse_status: ClassVar[int] = 0x0124
    http_status: ClassVar[int] = 401


class NotAuthorized(AdmissionError):
    """The peer is known and may not store."""

    dimse_status: ClassVar[int] = 0x0124
    http_status: ClassVar[int] = 403


class StepUpNeeded(NotAuthorized):
    """The object names its patient, whom this session may see after a second factor alone."""


class IdentityMismatch(AdmissionError):
    """Class or UIDs of the data set are not those of the command or the URL (PS3.4 B.2.3, PS3.18 10.5)."""

    dimse_status: ClassVar[int] = 0xA900
    http_status: ClassVar[int] = 409


class NotUnderstood(AdmissionError):
    """The data set or file is malformed, or begins with a program."""

    dimse_status: ClassVar[int] = 0xC000
    http_status: ClassVar[int] = 400


class Unsupported(AdmissionError):
    """A transfer syntax or SOP class that is not taken."""

    dimse_status: ClassVar[int] = 0xC000
    http_status: ClassVar[int] = 415


class TooLarge(AdmissionError):
    """Over a limit in bytes, depth or count."""

    dimse_status: ClassVar[int] = 0xA700
    http_status: ClassVar[int] = 413


class OutOfResources(AdmissionError):
    """No space is left, or too much is being received at once; nothing was kept."""

    dimse_status: ClassVar[int] = 0xA700
    http_status: ClassVar[int] = 507


class Throttled(AdmissionError):
    """This peer sends faster than it may."""

    dimse_status: ClassVar[int] = 0xA700
    http_status: ClassVar[int] = 429


class NotStored(AdmissionError):
    """The guard or the disk cannot answer; the instance is not acknowledged and may be sent again."""

    dimse_status: ClassVar[int] = 0x0110
    http_status: ClassVar[int] = 503


_BY_REASON: dict[str, type[AdmissionError]] = {
    "not_authenticated": NotAuthenticated,
    "not_permitted": NotAuthorized,
    "second_factor_needed": StepUpNeeded,
    "not_found": NotAuthorized,
    "invalid": NotUnderstood,
    "conflict": IdentityMismatch,
    "throttled": Throttled,
    "no_space": OutOfResources,
}


def admission_error(
    failure: GuardError | DicomError | StorageError | MemoryError,
    sop_class_uid: str = "",
    sop_instance_uid: str = "",
) -> AdmissionError:
    """The error of this tree for a failure of a lower room."""
    kind: type[AdmissionError] = NotStored
    if isinstance(failure, GuardRefused):
        kind = _BY_REASON.get(failure.reason, NotStored)
    elif isinstance(failure, LimitExceeded):
        kind = TooLarge
    elif isinstance(failure, UnsupportedTransferSyntax | UnsupportedSopClass):
        kind = Unsupported
    elif isinstance(failure, DicomError):
        kind = NotUnderstood
    elif isinstance(failure, StorageFull | MemoryError):
        kind = OutOfResources
    return kind(str(failure) or type(failure).__name__, sop_class_uid, sop_instance_uid)
