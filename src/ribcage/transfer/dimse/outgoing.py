"""C-STORE sub-operations over an association of our own: of a C-MOVE, or of a job of the queue.

Rules, in order:
1. One association; when it cannot be opened or ends, `OutletGone`. It is not opened again.
2. Where a C-MOVE asked, the requests name its asker's AE title and Message ID (PS3.7 9.1.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ribcage.dicom.dimse import CStoreRq
from ribcage.guard.protocol import InstanceRef
from ribcage.transfer.dimse.get import MESSAGE_IDS, choose, offered
from ribcage.transfer.dimse.line import LineLost
from ribcage.transfer.dimse.retrieval import OutletGone
from ribcage.transfer.dimse.sender import Peer, Sender, open_association
from ribcage.transfer.dimse.site import DimseSite
from ribcage.transfer.errors import IdentityUnusable
from ribcage.usage.disclose import InstanceStream


class Outgoing:
    """One association with a registered destination."""

    def __init__(self, site: DimseSite, peer: Peer, originator: tuple[str, int] | None = None) -> None:
        self._site = site
        self._peer = peer
        self._originator = originator
        self._sender: Sender | None = None
        self._message_id = 0

    async def open(self, refs: Sequence[InstanceRef]) -> None:
        """Associate. Raises OutletGone."""
        try:
            context = self._site.client_context()
            self._sender = await open_association(self._peer, refs, context, self._site.upper_layer)
        except (LineLost, IdentityUnusable) as failure:
            raise OutletGone("the destination does not answer") from failure

    async def store(self, stream: InstanceStream) -> int:
        """One C-STORE; the destination's status. Raises NotSent, OutletGone, DisclosureError."""
        if self._sender is None:
            raise OutletGone("there is no association")
        ref = stream.ref
        context = choose(self._sender.contexts.values(), ref.sop_class_uid, ref.transfer_syntax_uid)
        self._message_id = self._message_id % MESSAGE_IDS + 1
        command = CStoreRq(self._message_id, ref.sop_class_uid, ref.sop_instance_uid)
        if self._originator is not None:
            title, message_id = self._originator
            command = replace(command, move_originator=title, move_originator_message_id=message_id)
        try:
            with self._sender.line as line:
                return await offered(line, context, command, stream, self._site.cage)
        except LineLost as failure:
            raise OutletGone("the association with the destination ended") from failure

    async def close(self) -> None:
        """Release the association."""
        if self._sender is not None:
            await self._sender.close(self._site.limits.shutdown_seconds)
