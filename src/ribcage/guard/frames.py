"""Frames on the guard's socket: `uint32 big-endian length ‖ msgpack`, both directions."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ribcage.guard.errors import ProtocolFailure
from ribcage.guard.protocol import MAX_FRAME_BYTES, Answer, Call

_Frame = TypeVar("_Frame", Call, Answer)
_LENGTH_BYTES = 4
_encoder = msgspec.msgpack.Encoder()


def encode(frame: Call | Answer) -> bytes:
    """One frame's bytes. Raises ProtocolFailure over `MAX_FRAME_BYTES`."""
    body = _encoder.encode(frame)
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolFailure(f"frame of {len(body)} bytes, at most {MAX_FRAME_BYTES}: ask for less at once")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class Decoder:
    """Incremental decoder for one direction; `feed` returns whole frames in order."""

    def __init__(self, frame_type: type[Call] | type[Answer]) -> None:
        self._decoder = msgspec.msgpack.Decoder(frame_type)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Call | Answer]:
        """Frames completed by `data`. Raises ProtocolFailure on anything that is not one."""
        self._buffer += data
        frames: list[Call | Answer] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[start : start + _LENGTH_BYTES], "big")
            if length > MAX_FRAME_BYTES:
                raise ProtocolFailure(f"frame of {length} bytes announced, at most {MAX_FRAME_BYTES}")
            end = start + _LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            frames.append(self._decode(bytes(self._buffer[start + _LENGTH_BYTES : end])))
            start = end
        del self._buffer[:start]
        return frames

    def _decode(self, body: bytes) -> Call | Answer:
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as failure:
            raise ProtocolFailure("a frame that is not of the guard's protocol") from failure
