"""C-MOVE (PS3.4 C.4.2): the instances go to a registered destination over an association of our own.

Rules, in order:
1. The guard knows the destination; one it does not know, or that is suspended, is A801.
2. Asker and destination must both be allowed the full view of each study: the disclosure names the recipient.
3. One association per request. When it cannot be opened or ends, all that is left has failed; this request sends
   nothing again. Where the destination's setting says so, the guard queues what failed before the last response.
4. C-STORE requests name the asker's AE title and Message ID (PS3.7 9.1.1.1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ribcage.dicom.dimse import CMoveRq
from ribcage.dicom.statuses import Status
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import DestinationKnown, Device, FindDestination, InstanceRef, Queued, QueueMove
from ribcage.transfer.dimse.outgoing import Outgoing
from ribcage.transfer.dimse.retrieval import CannotSend, OutletGone
from ribcage.transfer.dimse.sender import Peer
from ribcage.transfer.dimse.site import DimseSite
from ribcage.usage.disclose import InstanceStream


class Destination:
    """The outlet of C-MOVE."""

    def __init__(self, site: DimseSite, asker: Device, command: CMoveRq, our_ae_title: str) -> None:
        self._site = site
        self._asker = asker
        self._command = command
        self._our_ae_title = our_ae_title
        self._outgoing: Outgoing | None = None

    async def prepare(self) -> Device:
        """Find the destination (rule 1). Raises CannotSend."""
        title = self._command.move_destination
        try:
            known = await self._site.guard.call(FindDestination(self._asker, title), DestinationKnown)
        except GuardRefused as refused:
            unknown = refused.reason == "not_found"
            raise CannotSend(Status.MOVE_DESTINATION_UNKNOWN if unknown else Status.NOT_AUTHORIZED) from None
        except GuardError:
            raise CannotSend(Status.CANNOT_PERFORM_SUBOPERATIONS) from None
        peer = Peer(known.address, known.port, known.fingerprint, title, self._our_ae_title)
        self._outgoing = Outgoing(self._site, peer, (self._asker.ae_title, self._command.message_id))
        return Device(known.fingerprint, title, known.address)

    async def open(self, refs: Sequence[InstanceRef]) -> None:
        """Associate with it. Raises OutletGone."""
        await self._found().open(refs)

    async def store(self, stream: InstanceStream) -> int:
        """One C-STORE sub-operation; the destination's status."""
        return await self._found().store(stream)

    async def failed(self, uids: Sequence[str]) -> None:
        """Let the guard queue these (rule 3); the counts of the request stay what they are."""
        if uids:
            request = QueueMove(self._asker, self._command.move_destination, list(uids))
            with contextlib.suppress(GuardError):
                await self._site.guard.call(request, Queued)

    async def close(self) -> None:
        """Release the association."""
        if self._outgoing is not None:
            await self._outgoing.close()

    def _found(self) -> Outgoing:
        if self._outgoing is None:
            raise OutletGone("the destination was not found before")
        return self._outgoing
