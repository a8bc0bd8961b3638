"""One association, without a socket: the upper layer of PS3.8 for acceptor and requestor.

The caller moves bytes and time. It feeds `receive()`, `connection_lost()` and `artim_expired()`, acts on the
events they return, and after every call writes `data_to_send()`, sets its timer by `artim` and closes the
transport when `should_close` says so.

Rules, in order:
1. What happens is read from `upper_layer_table.TABLE` and nowhere else (PS3.8 9.2).
2. Nothing a peer sends raises: malformed, oversized or unexpected bytes become A-ABORT and an `Aborted` event
   (PS3.8 9.3.8: source 2 for the upper layer's own reasons, source 0 for DIMSE's).
3. A local call that the state forbids raises `ProtocolMisuse` and changes nothing.
4. A peer whose maximum length is too small to be served is refused as local limit exceeded (PS3.8 9.3.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ribcage.dicom import dimse
from ribcage.dicom._machine import Machine, Role
from ribcage.dicom.assembler import MessageAssembler, MessageReceived, Sinks
from ribcage.dicom.association_events import Event
from ribcage.dicom.errors import (
    CommandMalformed,
    DataSetLimitExceeded,
    DicomError,
    PduError,
    PduMalformed,
    ProtocolMisuse,
)
from ribcage.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu import (
    HEADER_BYTES,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    Fragmenter,
    Pdu,
    PduType,
    ReleaseRp,
    ReleaseRq,
    check_type,
    encode,
    fragment,
    parse_body,
    parse_header,
)
from ribcage.dicom.pdu_items import ContextResult, ExtendedNegotiation, RoleSelection, UserInformation
from ribcage.dicom.upper_layer_table import TABLE, Action, State
from ribcage.dicom.upper_layer_table import Event as Evt

__all__ = ["AcceptedContext", "Role", "UpperLayer"]

_Chunk = bytes | bytearray | memoryview
_PDU_EVENTS: Final[Mapping[PduType, Evt]] = {
    PduType.ASSOCIATE_AC: Evt.EVT3,
    PduType.ASSOCIATE_RJ: Evt.EVT4,
    PduType.ASSOCIATE_RQ: Evt.EVT6,
    PduType.P_DATA_TF: Evt.EVT10,
    PduType.RELEASE_RQ: Evt.EVT12,
    PduType.RELEASE_RP: Evt.EVT13,
    PduType.ABORT: Evt.EVT16,
}


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """One agreed presentation context."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


class UpperLayer:
    """One association. See the module docstring for the caller's duties.

    An acceptor starts in Sta2 with ARTIM running. A requestor calls `request()`, opens the transport, then
    calls `connected()`.
    """

    def __init__(
        self, role: Role, limits: UpperLayerLimits | None = None, sinks: Sinks | None = None
    ) -> None:
        """`sinks`: where data sets go while they arrive; asked when the command of one is there."""
        self._limits: Final = limits or UpperLayerLimits()
        self._machine: Final = Machine(role, self._limits)
        self._contexts: Final[dict[int, AcceptedContext]] = {}
        self._assembler: Final = MessageAssembler(self._limits, self._contexts, sinks)
        self._pending: Final = bytearray()
        self._request: AssociateRq | None = None
        self._skip_bytes = 0
        self._deaf = False
        self._peer_max_pdu_bytes = 0
        if role is Role.ACCEPTOR:
            self._machine.local(Evt.EVT5)

    # --- what the caller reads ---

    @property
    def state(self) -> State:
        """The state of PS3.8 9.2."""
        return self._machine.state

    @property
    def should_close(self) -> bool:
        """Whether the transport is to be closed once `data_to_send()` is written."""
        return self._machine.should_close

    @property
    def artim(self) -> int:
        """0 when ARTIM is stopped, else the number of its start: a new number means (re)start the timer."""
        return self._machine.artim

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """Agreed presentation contexts by id."""
        return MappingProxyType(self._contexts)

    def context_for(self, abstract_syntax: str, transfer_syntax: str = "") -> AcceptedContext | None:
        """An agreed context of this class, in this syntax where one is named; or None."""
        for each in self._contexts.values():
            if each.abstract_syntax == abstract_syntax and transfer_syntax in ("", each.transfer_syntax):
                return each
        return None

    @property
    def request_pdu(self) -> AssociateRq | None:
        """The association request, received or sent."""
        return self._request

    @property
    def max_sent_pdu_bytes(self) -> int:
        """The length of P-DATA-TF bodies we send: the peer's limit and ours (PS3.8 D.1)."""
        return min(
            self._peer_max_pdu_bytes or self._limits.max_sent_pdu_bytes, self._limits.max_sent_pdu_bytes
        )

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for unfinished PDUs and messages; a front bounds the sum over its associations."""
        return len(self._pending) + self._assembler.buffered_bytes

    @property
    def inside_message(self) -> bool:
        """Whether the rest of a PDU or message is due."""
        return bool(self._pending) or self._assembler.inside_message

    def data_to_send(self) -> list[bytes]:
        """Take the queued bytes, in order."""
        output, self._machine.output = self._machine.output, []
        return output

    # --- what happens to us ---

    def receive(self, data: _Chunk) -> list[Event]:
        """Bytes from the transport, in pieces of any size. Never raises on account of them."""
        view = memoryview(data)
        machine = self._machine
        offset = 0
        while offset < len(view) and not self._deaf and machine.state not in (State.STA1, State.STA4):
            try:
                offset += self._step(view[offset:])
            except PduError as error:
                self._fail(Evt.EVT19, error)
            except (CommandMalformed, DataSetLimitExceeded) as error:
                self._fail(Evt.EVT15, error)
        return self._take_events()

    def connection_lost(self) -> list[Event]:
        """The transport is gone (Evt17)."""
        self._machine.happen(Evt.EVT17)
        self._forget()
        return self._take_events()

    def artim_expired(self) -> list[Event]:
        """`artim_seconds` have passed since ARTIM started and it was not stopped (Evt18)."""
        self._machine.happen(Evt.EVT18)
        return self._take_events()

    # --- what the local user does; events of these calls come with the next `receive()` or `take_events()` ---

    def request(self, request: AssociateRq) -> None:
        """Requestor: keep the request until the transport stands (Evt1)."""
        encode(request)
        self._machine.local(Evt.EVT1)
        self._request = request

    def connected(self) -> None:
        """Requestor: the transport stands; send the request (Evt2)."""
        self._machine.local(Evt.EVT2, self._request)

    def accept(
        self,
        results: Sequence[ContextResult],
        roles: Sequence[RoleSelection] = (),
        extended: Sequence[ExtendedNegotiation] = (),
        async_window: tuple[int, int] | None = None,
        identity_response: bytes | None = None,
    ) -> None:
        """Acceptor: send A-ASSOCIATE-AC with one result per proposed context (Evt7)."""
        request = self._request
        if request is None or self.state is not State.STA3:
            raise ProtocolMisuse(f"accept: expected a pending request, got {self.state.name}")
        if [result.context_id for result in results] != [context.context_id for context in request.contexts]:
            raise ProtocolMisuse("accept: expected one result per proposed context, in its order")
        user = UserInformation(
            max_pdu_bytes=self._limits.max_pdu_bytes,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            roles=tuple(roles),
            extended=tuple(extended),
            async_window=async_window,
            identity_response=identity_response,
        )
        answer = AssociateAc(request.called_ae_title, request.calling_ae_title, tuple(results), user)
        self._agree(request, answer, request.user, ProtocolMisuse)
        self._machine.local(Evt.EVT7, answer)

    def reject(self, result: int, source: int, reason: int) -> None:
        """Acceptor: send A-ASSOCIATE-RJ (Evt8). Numbers of PS3.8 Table 9-21."""
        self._machine.local(Evt.EVT8, AssociateRj(result, source, reason))

    def send_data(
        self, context_id: int, command: dimse.Command, data_set: Iterable[_Chunk] | None = None
    ) -> None:
        """Queue one whole message (Evt9). For data sets that should not be queued whole: `stream_data`."""
        self._machine.output.extend(self.stream_data(context_id, command, data_set))

    def stream_data(
        self, context_id: int, command: dimse.Command, data_set: Iterable[_Chunk] | None = None
    ) -> Iterator[bytes]:
        """The PDUs of one message, lazily; the caller writes them after `data_to_send()` and sends nothing
        else until the iterator is exhausted. Raises ProtocolMisuse when the association ends meanwhile."""
        if (data_set is not None) != command.has_data_set:
            raise ProtocolMisuse("expected a data set exactly when the command announces one")
        self._permit_data(context_id)
        room = self.max_sent_pdu_bytes
        yield from fragment(context_id, True, (dimse.encode(command),), room)
        if data_set is None:
            return
        for pdu in fragment(context_id, False, data_set, room):
            self._permit_data(context_id)
            yield pdu

    def begin_data(self, context_id: int, command: dimse.Command) -> Fragmenter:
        """Queue the command of a message whose data set arrives asynchronously (Evt9); write `data_to_send()`,
        then what the fragmenter gives, and nothing else until it is finished."""
        if not command.has_data_set:
            raise ProtocolMisuse("expected a data set exactly when the command announces one")
        fragmenter = self.fragmenter(context_id)
        room = self.max_sent_pdu_bytes
        self._machine.output.extend(fragment(context_id, True, (dimse.encode(command),), room))
        return fragmenter

    def fragmenter(self, context_id: int) -> Fragmenter:
        """For data sets that arrive asynchronously: push chunks, write what comes out (Evt9)."""
        self._permit_data(context_id)
        return Fragmenter(context_id, False, self.max_sent_pdu_bytes)

    def release(self) -> None:
        """Ask for release (Evt11), or answer the peer's request for it (Evt14)."""
        if self.state in (State.STA8, State.STA9, State.STA12):
            self._machine.local(Evt.EVT14, ReleaseRp())
        else:
            self._machine.local(Evt.EVT11, ReleaseRq())

    def abort(self) -> None:
        """End at once (Evt15); what was queued is dropped. Where there is nothing to abort, nothing happens."""
        if (Evt.EVT15, self.state) in TABLE:
            self._machine.output.clear()
        self._machine.happen(Evt.EVT15)
        self._forget()

    def take_events(self) -> list[Event]:
        """Events of local calls (`abort`)."""
        return self._take_events()

    # --- inside ---

    def _take_events(self) -> list[Event]:
        events, self._machine.events = self._machine.events, []
        return events

    def _permit_data(self, context_id: int) -> None:
        if context_id not in self._contexts:
            raise ProtocolMisuse(f"presentation context {context_id}: expected an accepted one")
        self._machine.local(Evt.EVT9)

    def _fail(self, event: Evt, error: DicomError) -> None:
        """The boundaries of PDUs are lost: nothing after this is read. The error keeps no frame, for frames
        hold what was received."""
        error.__context__ = error.__cause__ = None
        self._forget()
        self._deaf = True
        self._machine.happen(event, error=error.with_traceback(None))

    def _forget(self) -> None:
        self._pending.clear()
        self._assembler.reset()
        self._skip_bytes = 0

    def _step(self, view: memoryview) -> int:
        """Consume some of `view`: the rest of a P-DATA-TF, or up to one header or association PDU."""
        if self._assembler.inside_pdu:
            messages: list[MessageReceived] = []
            taken = self._assembler.feed(view, messages)
            self._machine.events.extend(messages)
            return taken
        if self._skip_bytes:
            taken = min(self._skip_bytes, len(view))
            self._skip_bytes -= taken
            return taken
        pending = self._pending
        if not pending:
            check_type(view[0])
        if len(pending) < HEADER_BYTES:
            taken = min(HEADER_BYTES - len(pending), len(view))
            pending += view[:taken]
            if len(pending) == HEADER_BYTES:
                self._header_complete()
            return taken
        kind, length = parse_header(pending, self._limits)
        taken = min(HEADER_BYTES + length - len(pending), len(view))
        pending += view[:taken]
        if len(pending) == HEADER_BYTES + length:
            body = memoryview(bytes(pending))[HEADER_BYTES:]
            pending.clear()
            self._pdu_complete(kind, parse_body(kind, body, self._limits))
        return taken

    def _header_complete(self) -> None:
        """P-DATA-TF counts as received with its header: its values are taken as they come."""
        kind, length = parse_header(self._pending, self._limits)
        if kind is not PduType.P_DATA_TF:
            return
        self._pending.clear()
        action = self._machine.happen(Evt.EVT10)
        if action in (Action.DT_2, Action.AR_6):
            self._assembler.begin(length)
        else:
            self._skip_bytes = length

    def _pdu_complete(self, kind: PduType, pdu: Pdu) -> None:
        if isinstance(pdu, AssociateRq) and self.state is State.STA2:
            self._request = pdu
        if isinstance(pdu, AssociateAc) and self.state is State.STA5 and self._request is not None:
            if 0 < pdu.user.max_pdu_bytes < self._limits.min_peer_pdu_bytes:
                raise PduMalformed(f"maximum length: expected at least {self._limits.min_peer_pdu_bytes}")
            self._agree(self._request, pdu, pdu.user, PduMalformed)
        self._machine.happen(_PDU_EVENTS[kind], pdu)

    def _agree(
        self, request: AssociateRq, answer: AssociateAc, peer: UserInformation, failure: type[DicomError]
    ) -> None:
        proposed = {context.context_id: context for context in request.contexts}
        agreed = {}
        for result in answer.results:
            context = proposed.get(result.context_id)
            if result.result:
                continue
            if context is None or result.transfer_syntax not in context.transfer_syntaxes:
                raise failure(
                    f"presentation context {result.context_id}: expected a proposed transfer syntax"
                )
            agreed[result.context_id] = AcceptedContext(
                result.context_id, context.abstract_syntax, result.transfer_syntax
            )
        self._contexts.update(agreed)
        self._peer_max_pdu_bytes = peer.max_pdu_bytes
