"""The DICOM listener takes plain bytes as well as TLS, as listeners that "prefer" TLS do."""

from __future__ import annotations

import asyncio
import select
import socket

from attacks.patches._put import Put
from ribcage.transfer.control import Handed
from ribcage.transfer.front import Front

_TLS_HANDSHAKE = b"\x16"
_WAIT_SECONDS = 10


def apply(put: Put) -> None:
    sealed = Front._handshake

    async def handshake(self: Front, handed: Handed, sock: socket.socket) -> None:
        await asyncio.to_thread(select.select, [sock], [], [], _WAIT_SECONDS)
        if handed.listener != "dicom" or sock.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE:
            await sealed(self, handed, sock)
            return
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._factory(handed.listener), sock)

    put(Front, "_handshake", handshake)
