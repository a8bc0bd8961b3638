"""The bulk stream in the masked view: the pixel element and nothing behind it.

The stream begins with the header of (7FE0,0008), (7FE0,0009) or (7FE0,0010). Trailing padding (FFFC,FFFC), digital
signatures (FFFA,FFFA) and whatever else follows are not passed on. The filter holds at most one element header.
A deflated data set has no bulk stream.
"""

from __future__ import annotations

from enum import Enum, auto
from struct import Struct
from typing import Final

from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.scan import BULK_TAGS, ITEM, LONG_VRS, SEQUENCE_END, UNDEFINED, Buffer
from ribcage.dicom.transfer_syntaxes import lookup

_FRAGMENT_HEAD_BYTES: Final = 8


class _State(Enum):
    HEADER = auto()
    NATIVE = auto()
    FRAGMENT_HEADER = auto()
    FRAGMENT = auto()
    DONE = auto()


class PixelElementFilter:
    """Passes on the pixel element of a bulk stream that arrives in chunks of any size."""

    def __init__(self, transfer_syntax_uid: str) -> None:
        syntax = lookup(transfer_syntax_uid)
        order = "<" if syntax.little else ">"
        self._implicit = syntax.implicit
        self._wide = Struct(order + "HHI")
        self._explicit = Struct(order + "HH2sHI")
        self._state = _State.HEADER
        self._pending = bytearray()
        self._remaining = 0
        self.passed_bytes = 0

    def feed(self, chunk: Buffer) -> list[Buffer]:
        """The parts of this chunk (and of headers begun before) that may leave, in order.

        Raises DataSetMalformed when the stream does not begin with a pixel element or its fragments are damaged.
        """
        view = memoryview(chunk)
        parts: list[Buffer] = []
        while len(view) and self._state is not _State.DONE:
            if self._state in (_State.NATIVE, _State.FRAGMENT):
                part = view[: self._remaining]
                view = view[len(part) :]
                self._remaining -= len(part)
                parts.append(part)
                if self._remaining == 0:
                    self._state = _State.DONE if self._state is _State.NATIVE else _State.FRAGMENT_HEADER
                continue
            missing = self._head_bytes() - len(self._pending)
            self._pending += view[:missing]
            view = view[missing:]
            if len(self._pending) == self._head_bytes():
                parts.append(bytes(self._pending))
                self._head(bytes(self._pending))
                self._pending.clear()
        self.passed_bytes += sum(len(part) for part in parts)
        return parts

    def finish(self) -> None:
        """Raises DataSetMalformed when the stream ended inside the pixel element."""
        if self._state is not _State.DONE and (self._state is not _State.HEADER or self._pending):
            raise DataSetMalformed("expected the end of the pixel element, got the end of the stream")

    def _head_bytes(self) -> int:
        if self._state is _State.HEADER and not self._implicit:
            return self._explicit.size
        return _FRAGMENT_HEAD_BYTES

    def _head(self, head: bytes) -> None:
        if self._state is _State.FRAGMENT_HEADER:
            group, number, length = self._wide.unpack(head)
            tag = group << 16 | number
            if tag == SEQUENCE_END and length == 0:
                self._state = _State.DONE
                return
            if tag != ITEM or length == UNDEFINED:
                raise DataSetMalformed("expected a fragment of pixel data, got another tag or length")
            self._remaining = length
            self._state = _State.FRAGMENT if length else _State.FRAGMENT_HEADER
            return
        vr = b"OB"
        if self._implicit:
            group, number, length = self._wide.unpack(head)
        else:
            group, number, vr, _, length = self._explicit.unpack(head)
        if group << 16 | number not in BULK_TAGS or vr not in LONG_VRS:
            raise DataSetMalformed("expected the pixel element at the start of the bulk stream, got another")
        self._remaining = length
        if length == UNDEFINED:
            self._state = _State.FRAGMENT_HEADER
        else:
            self._state = _State.NATIVE if length else _State.DONE


def mask_bulk_plan(bulk: Buffer, transfer_syntax_uid: str) -> int:
    """How many bytes at the start of a whole bulk stream are kept in the masked view; 0 for an empty stream.

    Raises DataSetMalformed as `PixelElementFilter` does.
    """
    gate = PixelElementFilter(transfer_syntax_uid)
    gate.feed(bulk)
    gate.finish()
    return gate.passed_bytes
