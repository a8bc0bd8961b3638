"""An association as a retrieval uses it: whole messages out at the peer's pace, responses and C-CANCEL in.

Rules, in order:
1. A data set is written as it comes; when the transport is full, the next PDU waits.
2. A data set that cannot be finished ends the association: a cut one must never look whole.
3. What a peer owes is awaited `wait_seconds`; then, and when the connection is gone, it is `LineLost`.
4. While the line is in use only responses and C-CANCEL may come (PS3.7 D.3.3.3: one operation at a time); anything
   else, or more than `_WAITING` of them, ends the association.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.dimse import RESPONSE, CCancelRq, CEchoRsp, Command, CStoreRsp, OtherCommand
from ribcage.dicom.errors import ProtocolMisuse
from ribcage.dicom.upper_layer import UpperLayer
from ribcage.transfer.errors import TransferError

_WAITING = 16


class LineLost(TransferError):
    """The association ended, or the peer does not answer."""


@dataclass(frozen=True)
class Wires:
    """What the owner of the transport lends: write these bytes, flush the upper layer, abort."""

    write: Callable[[Iterable[bytes]], None]
    flush: Callable[[], None]
    abort: Callable[[], None]


class Line:
    """Belongs to one association; its owner calls `give`, `pause`, `resume` and `lose`. Use with `with`."""

    def __init__(self, layer: UpperLayer, wires: Wires, wait_seconds: float) -> None:
        self._layer = layer
        self._wires = wires
        self._wait_seconds = wait_seconds
        self._messages: deque[MessageReceived] = deque()
        self._cancelled: set[int] = set()
        self._changed = asyncio.Event()
        self._full = False
        self._lost = False
        self.in_use = False

    def __enter__(self) -> Line:
        self.in_use = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.in_use = False
        self._messages.clear()
        self._cancelled.clear()

    # --- the owner's side -------------------------------------------------------------------------------

    def give(self, message: MessageReceived) -> None:
        """A message came while the line is in use (rule 4)."""
        if isinstance(message.command, CCancelRq) and len(self._cancelled) < _WAITING:
            self._cancelled.add(message.command.responds_to)
        elif _is_response(message.command) and len(self._messages) < _WAITING:
            self._messages.append(message)
            self._changed.set()
        else:
            self._wires.abort()

    def pause(self) -> None:
        """The transport is full (rule 1)."""
        self._full = True

    def resume(self) -> None:
        """The transport takes bytes again."""
        self._full = False
        self._changed.set()

    def lose(self) -> None:
        """The association is over."""
        self._lost = True
        self._changed.set()

    # --- the retrieval's side ---------------------------------------------------------------------------

    def cancelled(self, message_id: int) -> bool:
        """Whether the peer wants the operation of this message to end (PS3.7 9.3.3.3)."""
        return message_id in self._cancelled

    async def send(
        self, context_id: int, command: Command, data_set: AsyncIterator[bytes] | None = None
    ) -> None:
        """One message. Raises LineLost; what `data_set` raises passes on, the association aborted (rule 2)."""
        self._check()
        try:
            if data_set is None:
                self._layer.send_data(context_id, command)
                self._wires.flush()
                return
            fragmenter = self._layer.begin_data(context_id, command)
            self._wires.flush()
        except ProtocolMisuse as failure:
            raise LineLost("the association ended") from failure
        whole = False
        try:
            async for part in data_set:
                for pdu in fragmenter.push(part):
                    await self._room()
                    self._wires.write((pdu,))
            await self._room()
            self._wires.write((fragmenter.finish(),))
            whole = True
        finally:
            if not whole:
                self._wires.abort()

    async def send_whole(self, context_id: int, command: Command, data_set: bytes) -> None:
        """One message with a small data set. Raises LineLost."""

        async def once() -> AsyncIterator[bytes]:
            yield data_set

        await self.send(context_id, command, once())

    async def response(self, message_id: int) -> CStoreRsp:
        """The response to our C-STORE. Raises LineLost."""
        answer = await self.answer()
        if not isinstance(answer, CStoreRsp) or answer.responds_to != message_id:
            self._wires.abort()
            raise LineLost("expected the response to our C-STORE, got another")
        return answer

    async def answer(self) -> Command:
        """The next response. Raises LineLost."""
        await self._until(lambda: bool(self._messages))
        return self._messages.popleft().command

    async def _room(self) -> None:
        if self._full:
            await self._until(lambda: not self._full)
        self._check()

    async def _until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                while not condition():
                    self._check()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._wires.abort()
            raise LineLost(f"the peer did not answer within {self._wait_seconds:g} s") from None

    def _check(self) -> None:
        if self._lost:
            raise LineLost("the association ended")


def _is_response(command: Command) -> bool:
    """To what we send: C-STORE, C-ECHO, N-services."""
    if isinstance(command, OtherCommand):
        return bool(command.command_field & RESPONSE)
    return isinstance(command, CStoreRsp | CEchoRsp)
