"""MLLP, sans-IO: blocks out of bytes that arrive in any pieces (HL7 v2 transport, MLLP release 1).

Rules, in order:
1. A block is `0x0B ‖ message ‖ 0x1C 0x0D`. Neither 0x0B nor 0x1C occurs inside: no character set taken here has them.
2. Between blocks nothing but CR and LF is let pass, which some engines send.
3. What is kept is bounded by the limit of one block.
"""

from __future__ import annotations

from ribcage.transfer.hl7.errors import FramingBroken

START, END, CARRIAGE_RETURN = 0x0B, 0x1C, 0x0D
_BETWEEN = b"\r\n"


def block(message: bytes) -> bytes:
    """`message` as it goes over the wire."""
    return b"\x0b" + message + b"\x1c\r"


class Framer:
    """Takes bytes, gives whole messages."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept = bytearray()

    @property
    def inside(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._kept)

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that end in `data`. Raises FramingBroken."""
        self._kept += data
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> bytes | None:
        kept = self._kept
        skip = len(kept) - len(kept.lstrip(_BETWEEN))
        del kept[:skip]
        if not kept:
            return None
        if kept[0] != START:
            raise FramingBroken("expected a block of MLLP, got other bytes")
        end = kept.find(END, 1)
        if (end if end >= 0 else len(kept)) > self._most + 1:
            raise FramingBroken(f"expected a message of at most {self._most} bytes")
        if end < 0 or end + 1 == len(kept):
            self._check_start(len(kept) if end < 0 else end)
            return None
        self._check_start(end)
        if kept[end + 1] != CARRIAGE_RETURN:
            raise FramingBroken("expected CR after the end of a block")
        message = bytes(kept[1:end])
        del kept[: end + 2]
        return message

    def _check_start(self, end: int) -> None:
        if self._kept.find(START, 1, end) >= 0:
            raise FramingBroken("a block begins inside another")
