"""A small blocking requestor over the sans-IO upper layer: sends data sets as raw bytes, as tests and drills need.

`RawAssociation` is one association over a socket, with or without TLS; `store` and `echo` are one-call forms.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable, Sequence
from types import TracebackType

from ribcage.dicom import dimse
from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.association_events import (
    Aborted,
    AssociationAccepted,
    AssociationRejected,
    Event,
    Released,
    ReleaseRequested,
)
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu import AssociateRj, AssociateRq
from ribcage.dicom.pdu_items import ProposedContext, RoleSelection, UserIdentity, UserInformation
from ribcage.dicom.sop_classes import VERIFICATION
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from ribcage.dicom.upper_layer import Role, UpperLayer

Address = tuple[str, int]
Proposal = tuple[str, Sequence[str]]  # abstract syntax, transfer syntaxes


class AssociationFailed(Exception):
    """The association did not come about or ended early; `event` tells how (None: the transport closed)."""

    def __init__(self, event: Event | None) -> None:
        super().__init__(repr(event))
        self.event = event

    @property
    def rejection(self) -> AssociateRj | None:
        return self.event.answer if isinstance(self.event, AssociationRejected) else None


class RawAssociation:
    """One association as requestor. Use as a context manager: releases on success, aborts on an exception."""

    def __init__(
        self,
        address: Address,
        proposals: Sequence[Proposal],
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str = "localhost",
        calling: str = "TESTSCU",
        called: str = "RIBCAGE",
        roles: Sequence[RoleSelection] = (),
        identity: UserIdentity | None = None,
        limits: UpperLayerLimits | None = None,
        timeout_seconds: float = 20.0,
    ) -> None:
        self.limits = limits or UpperLayerLimits()
        self.upper_layer = UpperLayer(Role.REQUESTOR, self.limits)
        self.events: list[Event] = []
        self._message_id = 0
        contexts = tuple(
            ProposedContext(2 * index + 1, abstract, tuple(transfer))
            for index, (abstract, transfer) in enumerate(proposals)
        )
        user = UserInformation(
            max_pdu_bytes=self.limits.max_pdu_bytes,
            implementation_class_uid="2.25.1",
            implementation_version_name="RAW_SCU",
            roles=tuple(roles),
            identity=identity,
        )
        self.upper_layer.request(AssociateRq(called, calling, contexts, user))
        raw = socket.create_connection(address, timeout_seconds)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket = raw
        try:
            if ssl_context is not None:
                self.socket = ssl_context.wrap_socket(raw, server_hostname=server_hostname)
            self.upper_layer.connected()
            self.flush()
            event = self.next_event()
        except BaseException:
            self.close()
            raise
        if not isinstance(event, AssociationAccepted):
            self.close()
            raise AssociationFailed(event)
        self.answer = event.answer

    def __enter__(self) -> RawAssociation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self.upper_layer.should_close:
            self.release()
        else:
            self.abort()

    # --- services ---

    def context_for(self, sop_class: str, transfer_syntax: str | None = None) -> int:
        """The id of an accepted context; KeyError when the peer accepted none."""
        for context in self.upper_layer.contexts.values():
            if context.abstract_syntax == sop_class and transfer_syntax in (None, context.transfer_syntax):
                return context.context_id
        raise KeyError((sop_class, transfer_syntax))

    def echo(self) -> int:
        """C-ECHO; the status."""
        request = dimse.CEchoRq(self._next_message_id(), VERIFICATION)
        response = self.call(self.context_for(VERIFICATION), request).command
        assert isinstance(response, dimse.CEchoRsp)
        return response.status

    def store(
        self, sop_class: str, sop_instance: str, data_set: bytes, transfer_syntax: str | None = None
    ) -> int:
        """C-STORE of these very bytes; the status."""
        return self.store_response(sop_class, sop_instance, data_set, transfer_syntax).status

    def store_response(
        self, sop_class: str, sop_instance: str, data_set: bytes, transfer_syntax: str | None = None
    ) -> dimse.CStoreRsp:
        """C-STORE; the whole response."""
        request = dimse.CStoreRq(self._next_message_id(), sop_class, sop_instance)
        response = self.call(self.context_for(sop_class, transfer_syntax), request, (data_set,)).command
        assert isinstance(response, dimse.CStoreRsp)
        return response

    def call(
        self, context_id: int, command: dimse.Command, data_set: Iterable[bytes] | None = None
    ) -> MessageReceived:
        """Send one message, give the next one."""
        self.send(context_id, command, data_set)
        return self.next_message()

    def send(self, context_id: int, command: dimse.Command, data_set: Iterable[bytes] | None = None) -> None:
        """Send one message without waiting."""
        for pdu in self.upper_layer.stream_data(context_id, command, data_set):
            self.socket.sendall(pdu)

    def next_message(self) -> MessageReceived:
        """The next message; AssociationFailed when the association ends instead."""
        event = self.next_event()
        if not isinstance(event, MessageReceived):
            self.close()
            raise AssociationFailed(event)
        return event

    # --- association and transport ---

    def release(self) -> None:
        """Release and close."""
        self.upper_layer.release()
        self.flush()
        event = self.next_event()
        while isinstance(event, MessageReceived | ReleaseRequested):
            if isinstance(event, ReleaseRequested):
                self.upper_layer.release()
                self.flush()
            event = self.next_event()
        self.close()
        if not isinstance(event, Released):
            raise AssociationFailed(event)

    def abort(self) -> None:
        """A-ABORT and close; never fails."""
        self.upper_layer.abort()
        with contextlib.suppress(OSError):
            self.flush()
        self.close()

    def flush(self) -> None:
        """Write what the upper layer has queued."""
        for data in self.upper_layer.data_to_send():
            self.socket.sendall(data)

    def next_event(self) -> Event | None:
        """The next event from the peer; None when the transport closed without one."""
        while not self.events:
            data = self.socket.recv(262_144)
            self.events += self.upper_layer.receive(data) if data else self.upper_layer.connection_lost()
            if not data and not self.events:
                return None
            if any(isinstance(event, Aborted) for event in self.events):
                self.flush()
        return self.events.pop(0)

    def close(self) -> None:
        """Close the transport, nothing else."""
        self.socket.close()

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id


def store(
    address: Address,
    ssl_context: ssl.SSLContext | None,
    calling: str,
    called: str,
    sop_class: str,
    sop_uid: str,
    transfer_syntax: str,
    data_set: bytes,
    *,
    server_hostname: str = "localhost",
) -> int:
    """One association, one C-STORE of these very bytes; the status."""
    proposals = [(sop_class, [transfer_syntax])]
    with RawAssociation(
        address,
        proposals,
        ssl_context=ssl_context,
        calling=calling,
        called=called,
        server_hostname=server_hostname,
    ) as association:
        return association.store(sop_class, sop_uid, data_set, transfer_syntax)


def echo(
    address: Address,
    ssl_context: ssl.SSLContext | None,
    calling: str,
    called: str,
    *,
    server_hostname: str = "localhost",
) -> int:
    """One association, one C-ECHO; the status."""
    proposals = [(VERIFICATION, [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])]
    with RawAssociation(
        address,
        proposals,
        ssl_context=ssl_context,
        calling=calling,
        called=called,
        server_hostname=server_hostname,
    ) as association:
        return association.echo()
