"""A bounded multipart parser, bytes in, events out (RFC 2046 5.1, RFC 2387).

Rules, in order:
1. A delimiter is CRLF, "--", the boundary; it suffices that a line begins with it (RFC 2046 5.1.1), so what
   follows must be "--", or white space and CRLF; anything else is malformed.
2. Preamble, part head, part body and number of parts are limited; the epilogue is dropped.
3. Part heads are `name: value` lines without folding, control characters or repeated names.
4. `finish()` raises unless the closing delimiter was seen: a cut body is never taken for a whole one.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ribcage.transfer.dicomweb.errors import MultipartMalformed, TooLarge

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_HEAD_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_MAX_PADDING_BYTES: Final = 128  # white space after a delimiter
_HEAD_CRLF: Final = -2  # bytes of the head that still stand before the part's first byte


@dataclass(frozen=True, slots=True)
class MultipartLimits:
    """Bytes and counts one body may cost."""

    max_parts: int
    max_part_bytes: int
    max_head_bytes: int
    max_preamble_bytes: int


@dataclass(frozen=True, slots=True)
class PartStart:
    """A part begins; header names in lower case."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Some bytes of the current part."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The current part is complete."""


Event = PartStart | PartData | PartEnd


class _State(enum.Enum):
    PREAMBLE = "preamble"
    DELIMITER = "after a delimiter"
    HEAD = "part head"
    BODY = "part body"
    EPILOGUE = "epilogue"


class MultipartParser:
    """Feed bytes, iterate events, call `finish()` at the end. Raises MultipartMalformed or TooLarge."""

    def __init__(self, boundary: str, limits: MultipartLimits) -> None:
        if _BOUNDARY.fullmatch(boundary) is None:
            raise MultipartMalformed("expected a boundary of 1..70 characters (RFC 2046 5.1.1)")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._limits = limits
        self._buffer = bytearray(b"\r\n")  # so that a delimiter at the very start is found like any other
        self._state = _State.PREAMBLE
        self._parts = 0
        self._part_bytes = 0
        self._preamble_bytes = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take more bytes and yield what is complete; exhaust the iterator before feeding again."""
        if self._state is _State.EPILOGUE:
            return
        self._buffer += data
        while True:
            event, advanced = self._step()
            if event is not None:
                yield event
            if not advanced:
                return

    def finish(self) -> None:
        """The body ended. Raises MultipartMalformed unless the closing delimiter was seen."""
        if self._state is not _State.EPILOGUE:
            raise MultipartMalformed(f"expected a closing delimiter, got the end in {self._state.value}")

    def _step(self) -> tuple[Event | None, bool]:
        """One transition: an event or None, and whether another step may follow without more bytes."""
        if self._state is _State.PREAMBLE:
            return self._preamble()
        if self._state is _State.DELIMITER:
            return self._after_delimiter()
        if self._state is _State.HEAD:
            return self._head()
        if self._state is _State.BODY:
            return self._body()
        self._buffer.clear()
        return None, False

    def _preamble(self) -> tuple[Event | None, bool]:
        index = self._buffer.find(self._delimiter)
        passed = index if index >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        self._preamble_bytes += passed
        if self._preamble_bytes > self._limits.max_preamble_bytes:
            raise MultipartMalformed("expected a first delimiter, got a preamble beyond its limit")
        if index < 0:
            del self._buffer[:passed]
            return None, False
        del self._buffer[: index + len(self._delimiter)]
        self._state = _State.DELIMITER
        return None, True

    def _after_delimiter(self) -> tuple[Event | None, bool]:
        """RFC 2046: close-delimiter is followed by `--`, a delimiter by padding and CRLF."""
        if self._buffer[:2] == b"--":
            self._state = _State.EPILOGUE
            return None, True
        start = self._buffer[: _MAX_PADDING_BYTES + 1]
        padding = len(start) - len(start.lstrip(b" \t"))
        if padding > _MAX_PADDING_BYTES:
            raise MultipartMalformed("expected CRLF after a delimiter, got too much white space")
        line_end = bytes(self._buffer[padding : padding + 2])
        if line_end == b"\r\n":
            del self._buffer[:padding]  # this CRLF stays: with it an empty head ends like any other
            self._parts += 1
            if self._parts > self._limits.max_parts:
                raise TooLarge(f"expected at most {self._limits.max_parts} parts")
            self._state = _State.HEAD
            return None, True
        if line_end in (b"", b"\r") or (padding == 0 and line_end == b"-"):
            return None, False
        raise MultipartMalformed("expected CRLF or -- after a delimiter")

    def _head(self) -> tuple[Event | None, bool]:
        index = self._buffer.find(b"\r\n\r\n")
        if (index if index >= 0 else len(self._buffer)) > self._limits.max_head_bytes:
            raise MultipartMalformed("expected a part head within its limit")
        if index < 0:
            return None, False
        headers = _parse_head(bytes(self._buffer[2:index]))
        # Two of the four bytes stay, so that a delimiter right after the head (an empty part) is found.
        del self._buffer[: index + 2]
        self._part_bytes = _HEAD_CRLF
        self._state = _State.BODY
        return PartStart(headers), True

    def _body(self) -> tuple[Event | None, bool]:
        index = self._buffer.find(self._delimiter)
        if index < 0:
            passed = max(0, len(self._buffer) - len(self._delimiter) + 1)
            return self._take(passed), False
        if index > 0:
            return self._take(index), True
        del self._buffer[: len(self._delimiter)]
        self._state = _State.DELIMITER
        return PartEnd(), True

    def _take(self, count: int) -> PartData | None:
        if count == 0:
            return None
        start = -_HEAD_CRLF if self._part_bytes == _HEAD_CRLF else 0  # the head's last CRLF is not data
        if count < start:
            return None
        self._part_bytes += count
        if self._part_bytes > self._limits.max_part_bytes:
            raise TooLarge(f"expected a part of at most {self._limits.max_part_bytes} bytes")
        with memoryview(self._buffer) as view:
            data = bytes(view[start:count])
        del self._buffer[:count]
        return PartData(data) if data else None


def _parse_head(block: bytes) -> dict[str, str]:
    """Rule 3. An empty block is an empty head."""
    headers: dict[str, str] = {}
    if not block:
        return headers
    for line in block.split(b"\r\n"):
        match = _HEAD_LINE.fullmatch(line)
        if match is None:
            raise MultipartMalformed("expected `name: value` lines in a part head")
        name = match[1].decode("ascii").lower()
        if name in headers:
            raise MultipartMalformed("expected each part header once")
        headers[name] = match[2].decode("latin-1")
    return headers
