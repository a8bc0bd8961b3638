"""The error tree of the way out. DIMSE and HTTP statuses follow from the class, never from the text.

DisclosureError
├── NotAuthenticated      no valid session, unregistered or suspended certificate: 401
├── NotPermitted          neither grant nor role allows it: 403
├── SecondFactorNeeded    a grant would allow it after a step-up: 403 with the offer
│   └── MaskedViewRefused this SOP class has no masked view; the full view needs the step-up
├── NothingFound          also where existence must not be revealed: 404
├── RequestInvalid        400
├── FrameUnreadable       the stored pixels do not say where the frame is, or it is beyond a limit: 422
├── NotConvertible        this instance cannot be had in the asked transfer syntax: 406
├── Throttled             429
├── CannotDecide          guard or disk cannot answer, so the answer is no: 503
├── DisclosureCut         ended while it ran: revoked, expired, or the guard is gone: 403
└── ObjectDamaged         a stored object does not authenticate: 500, run `ribcage verify`
"""

from __future__ import annotations

from typing import ClassVar

from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.storage.errors import ObjectBroken, ObjectMissing, StorageError


class DisclosureError(Exception):
    """Base of what `disclose` raises. `entry` is the log index of the audited refusal, -1 where there is none."""

    dimse_status: ClassVar[int] = 0x0110
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, entry: int = -1, decided_microseconds: float = 0.0) -> None:
        super().__init__(message)
        self.entry = entry
        self.decided_microseconds = decided_microseconds


class NotAuthenticated(DisclosureError):
    """No valid session, or a certificate that is not registered or is suspended."""

    dimse_status: ClassVar[int] = 0x0124
    http_status: ClassVar[int] = 401


class NotPermitted(DisclosureError):
    """Neither a grant nor a role allows it."""

    dimse_status: ClassVar[int] = 0x0124
    http_status: ClassVar[int] = 403


class SecondFactorNeeded(DisclosureError):
    """A grant would allow it after a step-up: offer one."""

    dimse_status: ClassVar[int] = 0x0124
    http_status: ClassVar[int] = 403


class MaskedViewRefused(SecondFactorNeeded):
    """Unknown is denied: without a rule for the SOP class there is no masked view (DESIGN rule 7)."""


class NothingFound(DisclosureError):
    """Nothing to disclose; also the answer where existence must not be revealed."""

    dimse_status: ClassVar[int] = 0x0112
    http_status: ClassVar[int] = 404


class RequestInvalid(DisclosureError):
    """The request itself is malformed or out of limits."""

    dimse_status: ClassVar[int] = 0x0115
    http_status: ClassVar[int] = 400


class FrameUnreadable(DisclosureError):
    """Offset table, fragments or sizes of the stored pixels contradict each other, or the frame is beyond a limit."""

    dimse_status: ClassVar[int] = 0xC000
    http_status: ClassVar[int] = 422


class NotConvertible(DisclosureError):
    """Compressed as the cage cannot read it, or beyond a limit of conversion; the stored syntax can be had."""

    dimse_status: ClassVar[int] = 0xC000
    http_status: ClassVar[int] = 406


class Throttled(DisclosureError):
    """Too many disclosures at once."""

    dimse_status: ClassVar[int] = 0xA702
    http_status: ClassVar[int] = 429


class CannotDecide(DisclosureError):
    """Guard, ledger, audit or disk cannot answer: closed by default (DESIGN rule 5)."""

    http_status: ClassVar[int] = 503


class DisclosureCut(DisclosureError):
    """The disclosure ended while it ran: revoked, expired, or the guard is gone."""

    dimse_status: ClassVar[int] = 0x0124
    http_status: ClassVar[int] = 403


class ObjectDamaged(DisclosureError):
    """A stored object is missing or does not authenticate; `ribcage verify` tells which."""


_BY_REASON: dict[str, type[DisclosureError]] = {
    "not_authenticated": NotAuthenticated,
    "not_permitted": NotPermitted,
    "second_factor_needed": SecondFactorNeeded,
    "not_found": NothingFound,
    "conflict": NotPermitted,
    "invalid": RequestInvalid,
    "throttled": Throttled,
}


def disclosure_error(failure: GuardError | StorageError) -> DisclosureError:
    """The error of this tree for a failure of guard or storage."""
    if isinstance(failure, GuardRefused):
        return _BY_REASON.get(failure.reason, CannotDecide)(
            str(failure), failure.entry, failure.decided_microseconds
        )
    if isinstance(failure, ObjectBroken | ObjectMissing):
        return ObjectDamaged(str(failure))
    return CannotDecide(str(failure))
