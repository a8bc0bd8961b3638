"""An association that the migration opens: one thread, one message at a time, over TLS or (see `peer`) plain.

Rules, in order:
1. What is due within `Peer.seconds` and does not come is PeerLost; so is every end that nobody asked for.
2. A rejection is PeerRefused where the peer calls it permanent, else PeerLost (PS3.8 9.3.4).
3. One message is held at a time; its data set is bounded by `UpperLayerLimits.max_data_set_bytes`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType

from ribcage.dicom import dimse, identifier
from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.association_events import AssociationAccepted, AssociationRejected, Event
from ribcage.dicom.errors import DicomError
from ribcage.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.pdu_items import ProposedContext, RoleSelection, UserInformation
from ribcage.dicom.upper_layer import AcceptedContext, Role, UpperLayer
from ribcage.transfer.migration.errors import NotOffered, PeerLost, PeerRefused
from ribcage.transfer.migration.peer import Peer

_READ_BYTES = 262_144
_PERMANENT = 1
_CONNECT_SECONDS = 10.0
_LAST_MESSAGE_ID = 0xFFFF
LIMITS = UpperLayerLimits()
OTHER_WAYS = "give its DICOMweb address, or --receive-at ADDRESS:PORT for C-MOVE"
Proposal = tuple[str, tuple[str, ...]]  # abstract syntax, transfer syntaxes


class Association:
    """Opened by its constructor; use as a context manager: released on success, aborted on an exception."""

    def __init__(
        self, peer: Peer, called: str, calling: str, proposals: Sequence[Proposal], scp: Sequence[str] = ()
    ) -> None:
        """`scp`: classes in which the peer sends to us. Raises PeerLost, PeerRefused."""
        self._peer = peer
        self._layer = UpperLayer(Role.REQUESTOR, LIMITS)
        self._events: list[Event] = []
        self._message_id = 0
        contexts = tuple(ProposedContext(2 * n + 1, uid, each) for n, (uid, each) in enumerate(proposals))
        user = UserInformation(
            max_pdu_bytes=LIMITS.max_pdu_bytes,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            roles=tuple(RoleSelection(uid, False, True) for uid in scp),
        )
        self._layer.request(AssociateRq(called, calling, contexts, user))
        self._socket = connect(peer)
        try:
            self._layer.connected()
            self._flush()
            self._expect_acceptance(self._next_event())
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Association:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """Agreed presentation contexts by id."""
        return self._layer.contexts

    def context_for(self, abstract_syntax: str, transfer_syntax: str = "") -> AcceptedContext | None:
        """The agreed context, or None."""
        return self._layer.context_for(abstract_syntax, transfer_syntax)

    def offered(self, abstract_syntax: str) -> AcceptedContext:
        """The context of a service. Raises NotOffered."""
        found = self.context_for(abstract_syntax)
        if found is None:
            raise NotOffered(f"{self._peer.name} does not offer the service {abstract_syntax}", OTHER_WAYS)
        return found

    def message_id(self) -> int:
        """A fresh message id."""
        self._message_id = self._message_id % _LAST_MESSAGE_ID + 1
        return self._message_id

    def send(
        self, context_id: int, command: dimse.Command, data_set: bytes | memoryview | None = None
    ) -> None:
        """One message. Raises PeerLost."""
        try:
            parts = None if data_set is None else (data_set,)
            for pdu in self._layer.stream_data(context_id, command, parts):
                self._socket.sendall(pdu)
        except (OSError, DicomError) as failure:
            raise self._lost() from failure

    def receive(self) -> MessageReceived:
        """The next message. Raises PeerLost."""
        event = self._next_event()
        if not isinstance(event, MessageReceived):
            raise self._lost()
        return event

    def find(self, sop_class: str, keys: Mapping[int, str]) -> Iterator[Mapping[int, str]]:
        """C-FIND: the answers as they come. Raises PeerLost, PeerRefused."""
        context = self.offered(sop_class)
        request = dimse.CFindRq(self.message_id(), sop_class)
        self.send(context.context_id, request, identifier.write(keys, "", context.transfer_syntax))
        while True:
            message = self.receive()
            command = message.command
            if not isinstance(command, dimse.CFindRsp) or command.responds_to != request.message_id:
                raise PeerRefused(f"{self._peer.name} answered C-FIND with something else")
            if message.data_set is not None:
                try:
                    yield identifier.read(message.data_set, context.transfer_syntax).keys
                except DicomError:
                    yield {}  # counted as unreadable by whoever asked
            elif command.status == 0:
                return
            else:
                raise PeerRefused(
                    f"{self._peer.name} ended C-FIND with status {command.status:04X}",
                    "where it answers only so many studies, ask by date: --dates FROM-TO",
                )

    def release(self) -> None:
        """A-RELEASE; what goes wrong then does no harm."""
        with contextlib.suppress(OSError, DicomError, PeerLost):
            self._layer.release()
            self._flush()
            self._next_event()
        self._socket.close()

    def abort(self) -> None:
        """A-ABORT."""
        self._layer.abort()
        with contextlib.suppress(OSError):
            self._flush()
        self._socket.close()

    # --- inside -----------------------------------------------------------------------------------------

    def _expect_acceptance(self, event: Event | None) -> None:
        if isinstance(event, AssociationRejected) and event.answer.result == _PERMANENT:
            raise PeerRefused(
                f"{self._peer.name} rejected the association (reason {event.answer.reason})",
                "it must know our AE title, and the archive the device; see docs/operations.md",
            )
        if not isinstance(event, AssociationAccepted):
            raise self._lost()

    def _flush(self) -> None:
        for data in self._layer.data_to_send():
            self._socket.sendall(data)

    def _next_event(self) -> Event | None:
        try:
            while not self._events:
                data = self._socket.recv(_READ_BYTES)
                self._events += self._layer.receive(data) if data else self._layer.connection_lost()
                self._flush()
                if not data and not self._events:
                    return None
        except OSError as failure:
            raise self._lost() from failure
        return self._events.pop(0)

    def _lost(self) -> PeerLost:
        return PeerLost(f"{self._peer.name} broke off, or does not answer")


def connect(peer: Peer) -> socket.socket:
    """A connection, with TLS where the peer has it. Raises PeerLost, PeerRefused."""
    try:
        raw = socket.create_connection((peer.host, peer.port), _CONNECT_SECONDS)
    except OSError as failure:
        raise PeerLost(f"{peer.name} does not answer at port {peer.port}") from failure
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        ready = raw if peer.context is None else peer.context.wrap_socket(raw, server_hostname=peer.host)
    except ssl.SSLCertVerificationError as failure:
        raw.close()
        raise PeerRefused(
            f"{peer.name}: its certificate does not verify", "check authority and host name"
        ) from failure
    except OSError as failure:
        raw.close()
        raise PeerLost(f"{peer.name} ended the TLS handshake") from failure
    ready.settimeout(peer.seconds)
    return ready
