"""The archive's own door: a registered device that stores by C-STORE over mutual TLS, as any modality.

Rules, in order:
1. Every instance goes out in the transfer syntax it came in, byte for byte.
2. `acknowledged` is the archive's status 0000: durable there. A passing trouble (full, throttled, no guard) is
   PeerLost, so that it is tried again; a device that may not store is PeerRefused; the rest is refused by its reason.
"""

from __future__ import annotations

from ribcage.dicom import dimse
from ribcage.dicom.sop_classes import is_storage
from ribcage.dicom.statuses import Status
from ribcage.transfer.migration.association import LIMITS, Association
from ribcage.transfer.migration.errors import PeerLost, PeerRefused
from ribcage.transfer.migration.peer import Peer
from ribcage.transfer.migration.source import Arrived

_PASSING = (Status.OUT_OF_RESOURCES, Status.PROCESSING_FAILURE)
_TOO_LARGE = "TooLarge"


class ArchiveDoor:
    """One worker's association with the archive; opened when needed, and anew for a class it does not have yet."""

    def __init__(self, peer: Peer, calling: str) -> None:
        self._peer = peer
        self._calling = calling
        self._association: Association | None = None
        self._pairs: dict[tuple[str, str], None] = {}

    def store(self, one: Arrived) -> tuple[int, str]:
        """Status and reason ("" when acknowledged). Raises PeerLost, PeerRefused."""
        if not is_storage(one.sop_class):
            return Status.SOP_CLASS_NOT_SUPPORTED, "no-rule-for-class"
        try:
            return self._store(one)
        except (PeerLost, PeerRefused):
            self.close()
            raise

    def close(self) -> None:
        """End the association."""
        if self._association is not None:
            self._association.abort()
            self._association = None

    def _store(self, one: Arrived) -> tuple[int, str]:
        pair = (one.sop_class, one.transfer_syntax)
        if pair not in self._pairs or self._association is None:
            self._open(pair)
        association = self._association
        context = association.context_for(*pair) if association is not None else None
        if association is None or context is None:
            return Status.SOP_CLASS_NOT_SUPPORTED, "no-rule-for-class"
        request = dimse.CStoreRq(association.message_id(), one.sop_class, one.uid)
        association.send(context.context_id, request, memoryview(one.data))
        answer = association.receive().command
        if not isinstance(answer, dimse.CStoreRsp) or answer.responds_to != request.message_id:
            raise PeerRefused("the archive answered C-STORE with something else")
        return self._judge(answer)

    def _open(self, pair: tuple[str, str]) -> None:
        if self._association is not None:
            self._association.release()
            self._association = None
        self._pairs[pair] = None
        while len(self._pairs) > LIMITS.max_contexts:
            del self._pairs[next(iter(self._pairs))]
        proposals = [(sop_class, (syntax,)) for sop_class, syntax in self._pairs]
        self._association = Association(self._peer, self._peer.path, self._calling, proposals)

    def _judge(self, answer: dimse.CStoreRsp) -> tuple[int, str]:
        """Rule 2."""
        if answer.status == Status.SUCCESS:
            return answer.status, ""
        if answer.status == Status.NOT_AUTHORIZED:
            raise PeerRefused("the archive lets this device not store", "ribcage device add NAME --may store")
        if answer.status in _PASSING and answer.error_comment != _TOO_LARGE:
            raise PeerLost(f"the archive cannot keep anything now (status {answer.status:04X})")
        return answer.status, f"status-{answer.status:04X}"
