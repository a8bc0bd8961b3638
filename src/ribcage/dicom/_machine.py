"""The actions of PS3.8 Tables 9-6 to 9-9 over `upper_layer_table.TABLE`: state, timer, output and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from ribcage.dicom.association_events import (
    Aborted,
    AssociationAccepted,
    AssociationRejected,
    AssociationRequested,
    Event,
    Released,
    ReleaseRequested,
)
from ribcage.dicom.errors import DicomError, PduError, ProtocolMisuse
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu import Abort, AssociateAc, AssociateRj, AssociateRq, Pdu, encode
from ribcage.dicom.sop_classes import APPLICATION_CONTEXT
from ribcage.dicom.upper_layer_table import TABLE, Action, State
from ribcage.dicom.upper_layer_table import Event as Evt

_SOURCE_USER: Final = 0
_SOURCE_PROVIDER: Final = 2
_UNEXPECTED_PDU: Final = 2
_PERMANENT: Final = 1


class Role(Enum):
    """Who opened the transport connection."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"


class Machine:
    """State, timer, output queue and the actions of Tables 9-6 to 9-9."""

    def __init__(self, role: Role, limits: UpperLayerLimits) -> None:
        self.role: Final = role
        self.limits: Final = limits
        self.state = State.STA1
        self.should_close = False
        self.artim = 0
        self.events: list[Event] = []
        self.output: list[bytes] = []
        self._artim_starts = 0
        self._actions: Final[Mapping[Action, Callable[[Pdu | None, DicomError | None], State | None]]] = {
            Action.AE_1: self._nothing,
            Action.AE_2: self._send,
            Action.AE_3: self._ae_3,
            Action.AE_4: self._confirm_rejection,
            Action.AE_5: self._ae_5,
            Action.AE_6: self._ae_6,
            Action.AE_7: self._send,
            Action.AE_8: self._send_and_wait,
            Action.DT_1: self._nothing,
            Action.DT_2: self._nothing,
            Action.AR_1: self._send,
            Action.AR_2: self._indicate_release,
            Action.AR_3: self._ar_3,
            Action.AR_4: self._send_and_wait,
            Action.AR_5: self._ended,
            Action.AR_6: self._nothing,
            Action.AR_7: self._nothing,
            Action.AR_8: self._ar_8,
            Action.AR_9: self._send,
            Action.AR_10: self._indicate_release,
            Action.AA_1: self._aa_1,
            Action.AA_2: self._ended,
            Action.AA_3: self._aa_3,
            Action.AA_4: self._aa_4,
            Action.AA_5: self._ended,
            Action.AA_6: self._nothing,
            Action.AA_7: self._aa_7,
            Action.AA_8: self._aa_8,
        }

    def happen(self, event: Evt, pdu: Pdu | None = None, error: DicomError | None = None) -> Action | None:
        """Look the cell up, act, move. None when the table has no cell."""
        cell = TABLE.get((event, self.state))
        if cell is None:
            return None
        action, following = cell
        self.state = self._actions[action](pdu, error) or following
        return action

    def local(self, event: Evt, pdu: Pdu | None = None) -> None:
        """A local request. Raises ProtocolMisuse when the state does not permit it."""
        if self.happen(event, pdu) is None:
            raise ProtocolMisuse(f"{event.value}: not permitted in {self.state.name}, {self.state.value}")

    def start_artim(self) -> None:
        """Start or restart the timer (PS3.8 9.1.5): `artim` names the run that counts."""
        self._artim_starts += 1
        self.artim = self._artim_starts

    def _send(self, pdu: Pdu | None, _error: DicomError | None) -> None:
        if pdu is not None:
            self.output.append(encode(pdu))

    def _send_and_wait(self, pdu: Pdu | None, error: DicomError | None) -> None:
        self._send(pdu, error)
        self.start_artim()

    def _nothing(self, _pdu: Pdu | None, _error: DicomError | None) -> None:
        """The effect is the caller's (transport, data) or there is none."""

    def _ended(self, _pdu: Pdu | None, _error: DicomError | None) -> None:
        self.artim = 0
        self.should_close = True

    def _confirm_rejection(self, pdu: Pdu | None, error: DicomError | None) -> None:
        if isinstance(pdu, AssociateRj):
            self.events.append(AssociationRejected(pdu, by_peer=True))
        self._ended(pdu, error)

    def _ae_3(self, pdu: Pdu | None, _error: DicomError | None) -> None:
        if isinstance(pdu, AssociateAc):
            self.events.append(AssociationAccepted(pdu))

    def _ae_5(self, _pdu: Pdu | None, _error: DicomError | None) -> None:
        self.start_artim()

    def _ae_6(self, pdu: Pdu | None, error: DicomError | None) -> State | None:
        self.artim = 0
        refusal = self._unacceptable(pdu) if isinstance(pdu, AssociateRq) else None
        if refusal is not None:
            self.events.append(AssociationRejected(refusal, by_peer=False))
            self._send_and_wait(refusal, error)
            return State.STA13
        if isinstance(pdu, AssociateRq):
            self.events.append(AssociationRequested(pdu))
        return None

    def _unacceptable(self, request: AssociateRq) -> AssociateRj | None:
        if not request.protocol_version & 1:
            return AssociateRj(_PERMANENT, 2, 2)  # ACSE: protocol version not supported
        if request.application_context != APPLICATION_CONTEXT:
            return AssociateRj(_PERMANENT, 1, 2)  # user: application context name not supported
        if 0 < request.user.max_pdu_bytes < self.limits.min_peer_pdu_bytes:
            return AssociateRj(_PERMANENT, 3, 2)  # presentation: local limit exceeded
        return None

    def _indicate_release(self, _pdu: Pdu | None, _error: DicomError | None) -> None:
        self.events.append(ReleaseRequested())

    def _ar_3(self, pdu: Pdu | None, error: DicomError | None) -> None:
        self.events.append(Released())
        self._ended(pdu, error)

    def _ar_8(self, _pdu: Pdu | None, _error: DicomError | None) -> State:
        if self.role is Role.ACCEPTOR:
            return State.STA10  # its user may answer only in Sta12, and is asked there (AR-10)
        self.events.append(ReleaseRequested())
        return State.STA9

    def _aa_1(self, _pdu: Pdu | None, error: DicomError | None) -> None:
        self.output.append(encode(Abort(_SOURCE_USER, 0)))
        self.events.append(Aborted(_SOURCE_USER, 0, False, error))
        self.start_artim()

    def _aa_3(self, pdu: Pdu | None, error: DicomError | None) -> None:
        if isinstance(pdu, Abort):
            self.events.append(Aborted(pdu.source, pdu.reason, True))
        self._ended(pdu, error)

    def _aa_4(self, pdu: Pdu | None, error: DicomError | None) -> None:
        self.events.append(Aborted(-1, -1, True))
        self._ended(pdu, error)

    def _aa_7(self, _pdu: Pdu | None, error: DicomError | None) -> None:
        self.output.append(encode(Abort(_SOURCE_PROVIDER, _reason(error))))

    def _aa_8(self, _pdu: Pdu | None, error: DicomError | None) -> None:
        abort = Abort(_SOURCE_PROVIDER, _reason(error))
        self.output.append(encode(abort))
        self.events.append(Aborted(abort.source, abort.reason, False, error))
        self.start_artim()


def _reason(error: DicomError | None) -> int:
    return error.abort_reason if isinstance(error, PduError) else _UNEXPECTED_PDU
