"""What supervisor and front say to each other: one JSON object per message on a SOCK_SEQPACKET pair.

To the front: `Handed` with one descriptor, `StopFront`. To the supervisor: `Load`, first when the front is ready.
Message boundaries are the socket's; a descriptor travels with its message (SCM_RIGHTS).
"""

from __future__ import annotations

import os
import socket

import msgspec

from ribcage.transfer.errors import ProcessFailed
from ribcage.transfer.limits import Listener

_MESSAGE_BYTES = 1024


class Handed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """An accepted connection; its descriptor comes along. `address` is the peer's IP address."""

    listener: Listener
    address: str


class StopFront(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Finish what is in hand and exit."""


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Open connections of a front, and how many it was handed so far."""

    connections: int
    taken: int


ToFront = Handed | StopFront
_to_front = msgspec.json.Decoder(ToFront)
_to_supervisor = msgspec.json.Decoder(Load)


def control_pair() -> tuple[socket.socket, socket.socket]:
    """(supervisor's end, front's end); both non-blocking."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def send(control: socket.socket, message: ToFront | Load, descriptor: int = -1) -> None:
    """Send one message. Raises BlockingIOError when the other side does not keep up, OSError when it is gone."""
    socket.send_fds(control, [msgspec.json.encode(message)], [descriptor] if descriptor >= 0 else [])


def receive_as_front(control: socket.socket) -> tuple[ToFront, int] | None:
    """One message and its descriptor (-1: none); None when the supervisor is gone.

    Raises BlockingIOError when there is nothing, ProcessFailed for anything that is not of this protocol.
    """
    data, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 1)
    if not data:
        return None
    descriptor = descriptors[0] if descriptors else -1
    try:
        message = _to_front.decode(data)
    except msgspec.MsgspecError as failure:
        if descriptor >= 0:
            os.close(descriptor)
        raise ProcessFailed("expected a control message, got something else") from failure
    return message, descriptor


def receive_as_supervisor(control: socket.socket) -> Load | None:
    """One report; None when the front is gone. Raises BlockingIOError, ProcessFailed."""
    data = control.recv(_MESSAGE_BYTES)
    if not data:
        return None
    try:
        return _to_supervisor.decode(data)
    except msgspec.MsgspecError as failure:
        raise ProcessFailed("expected a load report, got something else") from failure
