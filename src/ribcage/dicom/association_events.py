"""What an association tells its user: the indications and confirmations of PS3.8 7, as values."""

from __future__ import annotations

from dataclasses import dataclass

from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.errors import DicomError
from ribcage.dicom.pdu import AssociateAc, AssociateRj, AssociateRq


@dataclass(frozen=True, slots=True)
class AssociationRequested:
    """Acceptor: answer with `accept()` or `reject()`."""

    request: AssociateRq


@dataclass(frozen=True, slots=True)
class AssociationAccepted:
    """Requestor: the association stands; see `UpperLayer.contexts`."""

    answer: AssociateAc


@dataclass(frozen=True, slots=True)
class AssociationRejected:
    """The peer refused (`by_peer`), or the upper layer refused a request before anybody was asked."""

    answer: AssociateRj
    by_peer: bool


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """The peer wants to end: answer with `release()`, after sending what is still due."""


@dataclass(frozen=True, slots=True)
class Released:
    """Our release was confirmed."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The association ended without release. `error` says why when we ended it over the peer's bytes;
    `source` and `reason` as in PS3.8 9.3.8, both -1 when the transport broke."""

    source: int
    reason: int
    by_peer: bool
    error: DicomError | None = None


Event = (
    AssociationRequested
    | AssociationAccepted
    | AssociationRejected
    | MessageReceived
    | ReleaseRequested
    | Released
    | Aborted
)
