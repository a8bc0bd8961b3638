"""C-GET (PS3.4 C.4.3): the instances go back on the association that asked.

Rules, in order:
1. A presentation context carries an instance when the peer is its SCP by role selection (PS3.7 D.3.3.4), the stored
   transfer syntax first, else one that the instance can be converted to.
2. What no context carries is a failed sub-operation; it is not sent in a context of another class.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from ribcage.cage import Cage
from ribcage.dicom.convert import TARGETS
from ribcage.dicom.dimse import CStoreRq
from ribcage.dicom.upper_layer import AcceptedContext
from ribcage.guard.protocol import InstanceRef
from ribcage.transfer.dimse.line import Line
from ribcage.transfer.dimse.retrieval import NotSent
from ribcage.usage.disclose import InstanceStream
from ribcage.usage.transcode import can_transcode, transcoded

MESSAGE_IDS = 0xFFFF


def choose(contexts: Collection[AcceptedContext], sop_class: str, stored: str) -> AcceptedContext:
    """The context that carries an instance of this class and stored syntax. Raises NotSent."""
    fitting = [context for context in contexts if context.abstract_syntax == sop_class]
    for context in fitting:
        if context.transfer_syntax == stored:
            return context
    for target in TARGETS:
        for context in fitting:
            if context.transfer_syntax == target and can_transcode(stored, target):
                return context
    raise NotSent("no accepted presentation context carries this instance")


async def offered(
    line: Line, context: AcceptedContext, command: CStoreRq, stream: InstanceStream, cage: Cage
) -> int:
    """One C-STORE sub-operation; its status. What fails before the first byte leaves the association whole."""
    parts = transcoded(stream, context.transfer_syntax, cage)
    first = await anext(parts)

    async def data_set() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part

    await line.send(context.context_id, command, data_set())
    return (await line.response(command.message_id)).status


class SameAssociation:
    """The outlet of C-GET."""

    def __init__(
        self, line: Line, contexts: Mapping[int, AcceptedContext], scp_classes: frozenset[str], cage: Cage
    ) -> None:
        self._cage = cage
        self._line = line
        self._contexts = [one for one in contexts.values() if one.abstract_syntax in scp_classes]
        self._message_id = 0

    async def prepare(self) -> None:
        """The asker is the recipient."""

    async def open(self, refs: Sequence[InstanceRef]) -> None:
        """The association stands."""

    async def failed(self, uids: Sequence[str]) -> None:
        """The asker knows them."""

    async def close(self) -> None:
        """It is the asker's to end."""

    async def store(self, stream: InstanceStream) -> int:
        """One C-STORE sub-operation; the peer's status."""
        ref = stream.ref
        context = choose(self._contexts, ref.sop_class_uid, ref.transfer_syntax_uid)
        self._message_id = self._message_id % MESSAGE_IDS + 1
        command = CStoreRq(self._message_id, ref.sop_class_uid, ref.sop_instance_uid)
        return await offered(self._line, context, command, stream, self._cage)
