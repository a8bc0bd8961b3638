"""The receiving end of C-MOVE: a listener for the old PACS alone, open while a study is being fetched.

Rules, in order (DESIGN rules 3 and 8):
1. It listens where the operator says: with TLS and a client certificate, or plain on loopback or a named isolated
   address alone.
2. One association at a time, from the old PACS's address, to our AE title, storage classes only.
3. Only instances that the old PACS listed for the study in hand are taken; anything else is refused and not kept.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Container
from dataclasses import dataclass

from ribcage.dicom import dimse
from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.association_events import AssociationRequested, Event, ReleaseRequested
from ribcage.dicom.errors import DicomError
from ribcage.dicom.negotiation import Offer, negotiate
from ribcage.dicom.statuses import Status
from ribcage.dicom.upper_layer import Role, UpperLayer
from ribcage.transfer.migration.association import LIMITS
from ribcage.transfer.migration.errors import MigrationError, PeerRefused
from ribcage.transfer.migration.peer import Peer
from ribcage.transfer.migration.source import Arrived, Take

_READ_BYTES = 262_144
_LOOK_SECONDS = 0.5
_REJECTED = (1, 1, 7)  # permanent, by the user, called AE title (PS3.8 9.3.4)


@dataclass(frozen=True)
class Expected:
    """What may come now, and who takes it."""

    uids: Container[str]
    take: Take


class Receiver:
    """Opened by its constructor; `expected` is set while a retrieval runs. `failure` is what `take` raised."""

    def __init__(
        self, at: tuple[str, int], source: Peer, ae_title: str, context: ssl.SSLContext | None
    ) -> None:
        """Raises PeerRefused when the address cannot be listened at."""
        self._source = source
        self._ae_title = ae_title
        self._context = context
        self._lock = threading.Lock()
        self._expected: Expected | None = None
        self.failure: MigrationError | None = None
        family = socket.AF_INET6 if ":" in at[0] else socket.AF_INET
        try:
            self._listener = socket.create_server(at, family=family, backlog=1)
        except OSError as failure:
            raise PeerRefused(
                "the receiving end cannot listen there", "--receive-at ADDRESS:PORT"
            ) from failure
        self._listener.settimeout(_LOOK_SECONDS)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def expect(self, expected: Expected | None) -> None:
        """What may come from now on; None: nothing. Waits until an instance in hand is through."""
        with self._lock:
            self._expected = expected
            if expected is not None:
                self.failure = None

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        self._thread.join()
        self._listener.close()

    # --- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                raw, address = self._listener.accept()
            except OSError:
                continue  # nobody came
            with contextlib.suppress(OSError, DicomError), raw:
                if address[0] == self._source.host:
                    raw.settimeout(self._source.seconds)
                    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._serve(self._context.wrap_socket(raw, server_side=True) if self._context else raw)

    def _serve(self, connection: socket.socket) -> None:
        layer = UpperLayer(Role.ACCEPTOR, LIMITS)
        with connection:
            while not layer.should_close and not self._closed.is_set():
                data = connection.recv(_READ_BYTES)
                for event in layer.receive(data) if data else layer.connection_lost():
                    self._happen(layer, event)
                for out in layer.data_to_send():
                    connection.sendall(out)
                if not data:
                    return

    def _happen(self, layer: UpperLayer, event: Event) -> None:
        if isinstance(event, AssociationRequested):
            if event.request.called_ae_title == self._ae_title:
                answer = negotiate(event.request, Offer())
                layer.accept(answer.results, answer.roles)
            else:
                layer.reject(*_REJECTED)
        elif isinstance(event, ReleaseRequested):
            layer.release()
        elif isinstance(event, MessageReceived):
            answered = self._answer(layer, event)
            if answered is not None:
                layer.send_data(event.context_id, answered)

    def _answer(self, layer: UpperLayer, message: MessageReceived) -> dimse.Command | None:
        command = message.command
        if isinstance(command, dimse.CEchoRq):
            return dimse.respond(command, Status.SUCCESS)
        if not isinstance(command, dimse.CStoreRq):
            return dimse.refuse(command)
        syntax = layer.contexts[message.context_id].transfer_syntax
        arrived = Arrived(command.sop_class, command.sop_instance, syntax, message.data_set or b"")
        with self._lock:
            expected = self._expected
            if expected is None or arrived.uid not in expected.uids or self.failure is not None:
                return dimse.respond(command, Status.DATA_SET_MISMATCH)
            try:
                return dimse.respond(command, expected.take(arrived))
            except MigrationError as failure:
                self.failure = failure
                return dimse.respond(command, Status.OUT_OF_RESOURCES)
