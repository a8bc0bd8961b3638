"""From P-DATA-TF bytes to DIMSE messages, as they arrive: each byte is copied once, into its message.

Rules, in order:
1. A value ends inside its PDU and belongs to an accepted presentation context (PS3.8 9.3.5, E.2).
2. A message is its command set, then its data set if the command says so, in one context; messages do not
   interleave (PS3.7 6.3, PS3.8 E.1).
3. Command and data set are bounded before a byte of the excess is kept.
4. A data set goes where `sinks` says when its command is there; else it is kept whole.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Final, Protocol

from ribcage.dicom import dimse
from ribcage.dicom.errors import CommandMalformed, DataSetLimitExceeded, PduMalformed
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu import PDV_HEADER_BYTES, parse_pdv_header


class Sink(Protocol):
    """Takes a data set while it arrives."""

    def take(self, view: memoryview) -> None:
        """The next bytes; they are valid during the call."""

    def drop(self) -> None:
        """The rest will not come."""


Sinks = Callable[[int, dimse.Command], Sink | None]


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """One complete DIMSE message. `data_set` belongs to the receiver from now on; None when there is none, or where
    a `sink` took it."""

    context_id: int
    command: dimse.Command
    data_set: bytearray | None
    sink: Sink | None = None


class MessageAssembler:
    """Takes the bodies of P-DATA-TF PDUs in pieces of any size and gives complete messages.

    `begin(body_bytes)` announces a PDU; `feed(view)` takes what there is of it and returns the bytes taken.
    Raises PduMalformed (the peer broke PS3.8), CommandMalformed or DataSetLimitExceeded (PS3.7 or a limit).
    """

    def __init__(
        self, limits: UpperLayerLimits, contexts: Container[int], sinks: Sinks | None = None
    ) -> None:
        self._limits: Final = limits
        self._sinks: Final = sinks
        self._contexts: Final = contexts
        self._pdu_left = 0
        self._value_left = 0
        self._in_value = False
        self._header = bytearray()
        self._context_id = 0
        self._value_is_command = False
        self._value_is_last = False
        self._command_bytes = bytearray()
        self._command: dimse.Command | None = None
        self._data_set = bytearray()
        self._data_set_bytes = 0
        self._sink: Sink | None = None
        self._mid_message = False

    @property
    def inside_message(self) -> bool:
        """Whether the rest of a message is due."""
        return self._mid_message

    @property
    def inside_pdu(self) -> bool:
        """Whether bytes of an announced PDU are still due."""
        return self._pdu_left > 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for the unfinished message."""
        return len(self._command_bytes) + len(self._data_set)

    def reset(self) -> None:
        """Forget everything unfinished."""
        self._pdu_left = self._value_left = 0
        self._in_value = self._mid_message = False
        self._header.clear()
        self._command_bytes.clear()
        self._command, self._data_set, self._data_set_bytes = None, bytearray(), 0
        if self._sink is not None:
            self._sink.drop()
            self._sink = None

    def begin(self, body_bytes: int) -> None:
        """A P-DATA-TF header was read; its body of `body_bytes` follows."""
        self._pdu_left = body_bytes

    def feed(self, view: memoryview, messages: list[MessageReceived]) -> int:
        """Take bytes of the current PDU; append complete messages; return how many bytes were taken."""
        taken = 0
        available = min(len(view), self._pdu_left)
        while taken < available:
            if self._in_value:
                size = min(self._value_left, available - taken)
                self._store(view[taken : taken + size])
                self._value_left -= size
            else:
                size = min(PDV_HEADER_BYTES - len(self._header), available - taken)
                self._header += view[taken : taken + size]
            taken += size
            self._pdu_left -= size
            if not self._in_value and len(self._header) == PDV_HEADER_BYTES:
                self._begin_value()
            if self._in_value and not self._value_left:
                self._end_value(messages)
        if not self._pdu_left and (self._in_value or self._header):
            raise PduMalformed(
                f"presentation data value: expected its 6 bytes of header, got {len(self._header)}"
            )
        return taken

    def _begin_value(self) -> None:
        size, context_id, is_command, is_last = parse_pdv_header(self._header, self._pdu_left)
        self._header.clear()
        if context_id not in self._contexts:
            raise PduMalformed(f"presentation context {context_id}: expected an accepted one")
        if self._mid_message and context_id != self._context_id:
            raise PduMalformed("expected the rest of a message in its own presentation context, got another")
        if is_command != (self._command is None):
            raise PduMalformed("expected a command set, then its data set, got them out of order")
        held = len(self._command_bytes) if is_command else self._data_set_bytes
        if is_command and held + size > self._limits.max_command_bytes:
            raise CommandMalformed(
                f"command set: expected at most {self._limits.max_command_bytes} bytes, got more"
            )
        if not is_command and held + size > self._limits.max_data_set_bytes:
            raise DataSetLimitExceeded(
                f"data set: expected at most {self._limits.max_data_set_bytes} bytes, got more"
            )
        self._context_id, self._value_is_command, self._value_is_last = context_id, is_command, is_last
        self._value_left, self._in_value, self._mid_message = size, True, True

    def _store(self, view: memoryview) -> None:
        if self._value_is_command:
            self._command_bytes += view
            return
        self._data_set_bytes += len(view)
        if self._sink is None:
            self._data_set += view
        else:
            self._sink.take(view)

    def _end_value(self, messages: list[MessageReceived]) -> None:
        self._in_value = False
        if not self._value_is_last:
            return
        if self._value_is_command:
            self._command = dimse.decode(bytes(self._command_bytes), self._limits.max_command_bytes)
            if self._command.has_data_set:
                self._sink = self._sinks(self._context_id, self._command) if self._sinks else None
                return
        command = self._command
        if command is None:
            raise PduMalformed("expected a command set before a data set, got none")
        data_set = self._data_set if command.has_data_set and self._sink is None else None
        messages.append(MessageReceived(self._context_id, command, data_set, self._sink))
        self._command_bytes.clear()
        self._command, self._data_set, self._data_set_bytes = None, bytearray(), 0
        self._sink, self._mid_message = None, False
