"""A small blocking acceptor over the sans-IO upper layer, on loopback, in a thread: keeps what it is sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ribcage.dicom import dimse, negotiation
from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.association_events import AssociationRequested, Event, ReleaseRequested
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.upper_layer import Role, UpperLayer


@dataclass
class Received:
    """What the acceptor saw: requests, stored data sets, and every event."""

    address: tuple[str, int]
    requests: list[AssociateRq] = field(default_factory=list)
    stored: list[tuple[dimse.CStoreRq, str, bytes]] = field(default_factory=list)  # with its transfer syntax
    events: list[Event] = field(default_factory=list)


def _serve(connection: socket.socket, received: Received, limits: UpperLayerLimits, status: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(20)
    layer = UpperLayer(Role.ACCEPTOR, limits)
    with connection:
        while not layer.should_close:
            data = connection.recv(65536)
            events = layer.receive(data) if data else layer.connection_lost()
            received.events += events
            for event in events:
                if isinstance(event, AssociationRequested):
                    received.requests.append(event.request)
                    answer = negotiation.negotiate(event.request, negotiation.Offer())
                    layer.accept(answer.results, answer.roles)
                elif isinstance(event, ReleaseRequested):
                    layer.release()
                elif isinstance(event, MessageReceived):
                    _answer(layer, event, received, status)
            for out in layer.data_to_send():
                connection.sendall(out)


def _answer(layer: UpperLayer, message: MessageReceived, received: Received, status: int) -> None:
    command = message.command
    if isinstance(command, dimse.CStoreRq) and message.data_set is not None:
        syntax = layer.contexts[message.context_id].transfer_syntax
        received.stored.append((command, syntax, bytes(message.data_set)))
    if isinstance(command, dimse.CStoreRq | dimse.CEchoRq):
        layer.send_data(message.context_id, dimse.respond(command, status))
    else:
        refusal = dimse.refuse(command)
        if refusal is not None:
            layer.send_data(message.context_id, refusal)


@contextmanager
def acceptor(
    associations: int = 1, limits: UpperLayerLimits | None = None, status: int = 0
) -> Iterator[Received]:
    """Serve `associations` associations one after another; leaving the context waits for them."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)
    received = Received(listener.getsockname())
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(associations):
                connection, _ = listener.accept()
                _serve(connection, received, limits or UpperLayerLimits(), status)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        thread.join(25)
        listener.close()
    if failures:
        raise failures[0]
