"""One peer process on the guard's socket, and who it turned out to be."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

from ribcage.guard import protocol as p
from ribcage.guard.errors import ProtocolFailure
from ribcage.guard.frames import encode


class Connection:
    """A connection starts as a front's; `operator` is set when it has proved the passphrase."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.nonce = b""
        self.operator: p.Operator | None = None
        self.running: set[asyncio.Task[None]] = set()

    def send(self, number: int, body: p.Response) -> None:
        """Write one answer; a vanished peer is no fault of ours."""
        if not self.writer.is_closing():
            self.writer.write(encode(p.Answer(number, body)))


def check_peer(writer: asyncio.StreamWriter) -> None:
    """Only our own user (SO_PEERCRED). Raises ProtocolFailure."""
    link = writer.get_extra_info("socket")
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    if user != os.geteuid():
        raise ProtocolFailure("a process of another user connected")
