"""C-MOVE (PS3.4 C.4.2): the instances go to a registered destination over an association of our own.

Rules, in order:
1. The guard knows the destination; one it does not know, or that is suspended, is A801.
2. Asker and destination must both be allowed the full view of each study: the disclosure names the recipient.
3. One association per request. When it cannot be opened or ends, all that is left has failed; nothing is sent again.
4. C-STORE requests name the asker's AE title and Message ID (PS3.7 9.1.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from ribcage.dicom.dimse import CMoveRq, CStoreRq
from ribcage.dicom.statuses import Status
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import DestinationKnown, Device, FindDestination, InstanceRef
from ribcage.transfer.dimse.get import MESSAGE_IDS, choose, offered
from ribcage.transfer.dimse.line import LineLost
from ribcage.transfer.dimse.retrieval import CannotSend, OutletGone
from ribcage.transfer.dimse.sender import Peer, Sender, open_association
from ribcage.transfer.dimse.site import DimseSite
from ribcage.transfer.errors import IdentityUnusable
from ribcage.usage.disclose import InstanceStream


class Destination:
    """The outlet of C-MOVE."""

    def __init__(self, site: DimseSite, asker: Device, command: CMoveRq, our_ae_title: str) -> None:
        self._site = site
        self._asker = asker
        self._command = command
        self._our_ae_title = our_ae_title
        self._peer: Peer | None = None
        self._sender: Sender | None = None
        self._message_id = 0

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
        self._peer = Peer(known.address, known.port, known.fingerprint, title, self._our_ae_title)
        return Device(known.fingerprint, title, known.address)

    async def open(self, refs: Sequence[InstanceRef]) -> None:
        """Associate with it. Raises OutletGone."""
        if self._peer is None:
            raise OutletGone("the destination was not found before")
        try:
            context = self._site.client_context()
            self._sender = await open_association(self._peer, refs, context, self._site.upper_layer)
        except (LineLost, IdentityUnusable) as failure:
            raise OutletGone("the destination does not answer") from failure

    async def store(self, stream: InstanceStream) -> int:
        """One C-STORE sub-operation; the destination's status."""
        if self._sender is None:
            raise OutletGone("there is no association")
        ref = stream.ref
        context = choose(self._sender.contexts.values(), ref.sop_class_uid, ref.transfer_syntax_uid)
        self._message_id = self._message_id % MESSAGE_IDS + 1
        command = CStoreRq(
            self._message_id,
            ref.sop_class_uid,
            ref.sop_instance_uid,
            move_originator=self._asker.ae_title,
            move_originator_message_id=self._command.message_id,
        )
        try:
            with self._sender.line as line:
                return await offered(line, context, command, stream, self._site.cage)
        except LineLost as failure:
            raise OutletGone("the association with the destination ended") from failure

    async def close(self) -> None:
        """Release the association."""
        if self._sender is not None:
            await self._sender.close(self._site.limits.shutdown_seconds)
