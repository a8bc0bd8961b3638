"""What an association needs of its user and of its site: the archive's front and the edge each have their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ribcage.dicom.assembler import MessageReceived, Sink
from ribcage.dicom.dimse import Command, CStoreRq
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.negotiation import Answer
from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.upper_layer import AcceptedContext
from ribcage.guard.protocol import RefusalKind
from ribcage.transfer.dimse.exchange import Exchange
from ribcage.transfer.dimse.line import Line
from ribcage.transfer.dimse.places import Drainable
from ribcage.transfer.dimse.services import Rejection
from ribcage.transfer.limits import Listener


class Arriving(Sink, Protocol):
    """A data set that is stored while it arrives (`ribcage.capture.flow.Flow`)."""

    @property
    def full(self) -> bool:
        """Whether the transport should wait."""

    @property
    def over(self) -> bool:
        """Whether the transport's bound was reached."""

    def release(self) -> None:
        """It is over: nothing is held any more."""


class Service(Protocol):
    """An association's user (PS3.7), as `AssociationService` is one."""

    async def negotiate(self, request: AssociateRq) -> Answer | Rejection:
        """Decide on an association request."""

    async def answer(
        self, message: MessageReceived, context: AcceptedContext, exchange: Exchange
    ) -> Command | None:
        """The last response to one request; None where none is due. Raises AssociationOver."""

    async def begin(self, context: AcceptedContext, exchange: Exchange) -> None:
        """A context was agreed and nothing was asked yet. Raises AssociationOver."""

    async def retrieve(
        self, message: MessageReceived, contexts: Mapping[int, AcceptedContext], line: Line
    ) -> None:
        """C-GET and C-MOVE. Raises LineLost."""

    async def still_known(self) -> bool:
        """Whether the peer may still be here, asked when a registry changed."""

    async def finish(self) -> None:
        """The association has ended."""

    def receive(
        self,
        command: CStoreRq,
        context: AcceptedContext,
        hold: Callable[[int], bool],
        moved: Callable[[], None],
    ) -> Arriving | None:
        """Where the data set of a C-STORE goes while it arrives; None where it will be refused."""


class Notes(Protocol):
    """Counts refusals, as `ribcage.transfer.refusals.Refusals` does."""

    def note(self, kind: RefusalKind, listener: Listener, address: str) -> None:
        """Count one."""


class Site(Protocol):
    """What associations of one process share, as `DimseSite` is it."""

    @property
    def upper_layer(self) -> UpperLayerLimits:
        """Limits of each association."""

    @property
    def refusals(self) -> Notes:
        """Where refusals are counted."""

    def hold(self, change_bytes: int) -> bool:
        """Count bytes held for unfinished instances. False: over the limit, give way."""

    def enter(self, association: Drainable, address: str) -> bool:
        """Count an association in. False: one too many."""

    def leave(self, association: Drainable, address: str) -> None:
        """Count it out."""
