"""An old PACS that offers no C-GET: C-MOVE to our own receiving end (PS3.4 C.4.2).

Rules, in order:
1. C-GET is tried first; C-MOVE from the moment that it is not offered.
2. A retrieval has ended when the last C-MOVE response is there: every store before it was answered.
3. What the receiving end could not hand on ends the study's attempt, as with C-GET.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ribcage.dicom import dimse, identifier
from ribcage.dicom.sop_classes import STUDY_ROOT_MOVE
from ribcage.dicom.statuses import Status, category
from ribcage.dicom.transfer_syntaxes import LITTLE_ENDIAN
from ribcage.transfer.migration.association import Association
from ribcage.transfer.migration.dicom_source import DicomSource, retrieval_keys
from ribcage.transfer.migration.errors import NotOffered, PeerRefused
from ribcage.transfer.migration.journal import Listed
from ribcage.transfer.migration.peer import Peer
from ribcage.transfer.migration.receiver import Expected, Receiver
from ribcage.transfer.migration.source import Take


class MoveSource(DicomSource):
    """One worker; there is one receiving end, so there is one worker."""

    def __init__(self, peer: Peer, calling: str, dates: str, receiver: Receiver) -> None:
        super().__init__(peer, calling, dates)
        self._receiver = receiver
        self._get_offered = True

    def fetch(self, study_uid: str, wanted: Sequence[Listed], whole: bool, take: Take) -> None:
        """See `Source` (rule 1)."""
        if self._get_offered:
            try:
                return super().fetch(study_uid, wanted, whole, take)
            except NotOffered:
                self._get_offered = False
        self._receiver.expect(Expected({each.uid for each in wanted}, take))
        try:
            with Association(
                self._peer, self._peer.path, self._calling, [(STUDY_ROOT_MOVE, LITTLE_ENDIAN)]
            ) as association:
                for keys in retrieval_keys(study_uid, wanted, whole):
                    self._move(association, keys)
        finally:
            self._receiver.expect(None)
        return None

    def _move(self, association: Association, keys: Mapping[int, str]) -> None:
        context = association.offered(STUDY_ROOT_MOVE)
        request = dimse.CMoveRq(association.message_id(), STUDY_ROOT_MOVE, self._calling)
        association.send(context.context_id, request, identifier.write(keys, "", context.transfer_syntax))
        while True:
            command = association.receive().command
            if not isinstance(command, dimse.CMoveRsp):
                raise PeerRefused(f"{self._peer.name} answered C-MOVE with something else")
            if command.status == Status.MOVE_DESTINATION_UNKNOWN:
                raise PeerRefused(
                    f"{self._peer.name} does not know our AE title as a destination",
                    "register it there with the address and port of --receive-at",
                )
            if category(command.status) != "pending":
                break
        if self._receiver.failure is not None:
            raise self._receiver.failure
